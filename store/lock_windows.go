//go:build windows

package store

import (
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks one byte far behind the pid, since Windows lets nobody read a locked byte.
func tryLock(f *os.File) error {
	far := windows.Overlapped{OffsetHigh: 1}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &far)
}
