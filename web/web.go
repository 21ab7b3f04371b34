// Package web shows people what the offices of this process are doing: pages, metrics, health. Snapshots only.
package web

import (
	"context"

	"github.com/siproam/siproam/metric"
)

// Source is one office as people see it.
type Source interface {
	Name() string
	Snapshot(ctx context.Context, what, after string, max int) (any, error)
	Metrics() *metric.Set
}
