package office

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
)

// The control socket is state/control.sock. Where the system has no Unix sockets worth the name (Windows), or the path is
// too long for one, it is a port on loopback, and state/control.addr (0600) holds the address and a token.
const (
	controlSocket = "control.sock"
	controlFile   = "control.addr"
	socketPathMax = 100 // sun_path holds 104 bytes on macOS, 108 on Linux
)

// controlListener is the control socket; token is "" on a Unix socket, whose directory is private.
type controlListener struct {
	net.Listener
	token string
	file  string // to remove at the end
}

// Close ends it and removes its file.
func (c *controlListener) Close() error {
	err := c.Listener.Close()
	os.Remove(c.file)
	return err
}

// listenControl opens the control socket of state. A socket somebody answers on is not taken away.
func listenControl(state string) (*controlListener, error) {
	if err := os.MkdirAll(state, 0o700); err != nil {
		return nil, err
	}
	path := filepath.Join(state, controlSocket)
	if runtime.GOOS == "windows" || len(path) > socketPathMax {
		return listenLoopback(state)
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: an office is running here already", state)
	}
	os.Remove(path)
	os.Remove(filepath.Join(state, controlFile))
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return &controlListener{Listener: l, file: path}, nil
}

// listenLoopback is the control socket on a port.
func listenLoopback(state string) (*controlListener, error) {
	path := filepath.Join(state, controlFile)
	if addr, _, err := readControl(path); err == nil {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return nil, fmt.Errorf("%s: an office is running here already", state)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	c := &controlListener{Listener: l, token: rand.Text(), file: path}
	os.Remove(path) // so that the new one gets its mode
	if err := os.WriteFile(path, []byte(l.Addr().String()+" "+c.token+"\n"), 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("control socket: %w", err)
	}
	return c, nil
}

// readControl reads address and token.
func readControl(path string) (addr, token string, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", "", err
	}
	f := strings.Fields(string(b))
	if len(f) != 2 {
		return "", "", fmt.Errorf("%s: not an address and a token", path)
	}
	return f[0], f[1], nil
}

// ErrNotRunning says that no office runs with that state directory.
var ErrNotRunning = errors.New("no office is running here")

// dialControl finds the control socket of state.
func dialControl(state string) (network, addr, token string, err error) {
	path := filepath.Join(state, controlSocket)
	if _, err := os.Stat(path); err == nil && len(path) <= socketPathMax {
		return "unix", path, "", nil
	}
	addr, token, err = readControl(filepath.Join(state, controlFile))
	if errors.Is(err, os.ErrPermission) {
		return "", "", "", fmt.Errorf("%s: %w (another user runs it?)", state, os.ErrPermission)
	}
	if err != nil {
		return "", "", "", fmt.Errorf("%s: %w", state, ErrNotRunning)
	}
	return "tcp", addr, token, nil
}

// Reason is what a person needs of a network error: "address already in use".
func Reason(err error) error {
	if no := syscall.Errno(0); errors.As(err, &no) {
		return no
	}
	return err
}
