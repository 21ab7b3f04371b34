package store

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// lock takes path for this process; closing the file, or the end of the process, gives
// it back. The file beside the database stays: removing it would let two processes each
// hold a lock on a file of that name. It holds the pid, for people.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := tryLock(f); err != nil {
		who, _ := io.ReadAll(io.LimitReader(f, 64))
		f.Close()
		if pid := strings.TrimSpace(string(who)); pid != "" {
			return nil, fmt.Errorf("is %w (pid %s)", ErrInUse, pid)
		}
		return nil, fmt.Errorf("is %w", ErrInUse)
	}
	if err := f.Truncate(0); err == nil { // its content is a courtesy only
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
