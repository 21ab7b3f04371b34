package transport

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// maxHandshake is the most octets of a WebSocket's opening request.
const maxHandshake = 8 << 10

// upgrade makes a WebSocket of c: HTTP's opening handshake (RFC 6455 4.2) with the subprotocol
// sip (RFC 7118 4.2). What is refused gets a short answer of HTTP. The caller has set the deadline.
func (d *door) upgrade(c *conn) error {
	head, err := readHandshake(c.nc)
	if err == nil {
		var answer bytes.Buffer
		u := d.t.upgrader()
		if _, err = u.Upgrade(struct {
			io.Reader
			io.Writer
		}{bytes.NewReader(head), &answer}); err == nil {
			_, err = c.nc.Write(answer.Bytes())
		}
	}
	if err != nil {
		d.decline(c, err)
		return err
	}
	w := newWebSocket()
	c.in, c.out = w, w
	return nil
}

// upgrader checks one handshake.
func (t *Transport) upgrader() ws.Upgrader {
	var host, origin string
	var chosen, page, twice bool
	return ws.Upgrader{
		ReadBufferSize: maxHandshake,
		Protocol: func(p []byte) bool {
			chosen = chosen || string(p) == "sip"
			return string(p) == "sip"
		},
		OnHost: func(v []byte) error {
			host = string(v)
			return nil
		},
		OnHeader: func(k, v []byte) error {
			if strings.EqualFold(string(k), "Origin") {
				twice = page
				page, origin = true, string(v)
			}
			return nil
		},
		OnBeforeUpgrade: func() (ws.HandshakeHeader, error) {
			switch {
			case page && (twice || !t.welcomes(origin, host)): // RFC 6455 10.2
				return nil, denied(http.StatusForbidden, fmt.Sprintf("origin %.100q is not allowed here", origin))
			case !chosen:
				return nil, denied(http.StatusBadRequest, "the subprotocol must be sip")
			}
			return nil, nil
		},
	}
}

// welcomes says that pages of origin may connect: those of the list, and those that came from this very
// host, if it is one of our names. A name that a stranger has pointed at our address is not.
func (t *Transport) welcomes(origin, host string) bool {
	origin = strings.ToLower(origin)
	if slices.ContainsFunc(t.cfg.Origins, func(o string) bool { return strings.ToLower(o) == origin }) {
		return true
	}
	from, err1 := url.Parse(origin)
	to, err2 := url.Parse("//" + strings.ToLower(host))
	if err1 != nil || err2 != nil || from.Hostname() != to.Hostname() {
		return false
	}
	return slices.ContainsFunc(t.cfg.Names, func(n string) bool { return strings.Trim(strings.ToLower(n), "[]") == to.Hostname() })
}

func denied(code int, reason string) error {
	return ws.RejectConnectionError(ws.RejectionStatus(code), ws.RejectionReason(reason))
}

var (
	errNoHTTP   = denied(http.StatusBadRequest, "this is a WebSocket for SIP (RFC 7118)")
	errTooLarge = denied(http.StatusRequestHeaderFieldsTooLarge, "request header too large")
	errTooMuch  = denied(http.StatusBadRequest, "octets after the request")
)

var endOfRequest = []byte("\r\n\r\n")

// readHandshake reads one request without a body. A client sends nothing more before it is answered.
func readHandshake(r io.Reader) ([]byte, error) {
	var b []byte
	room := make([]byte, 1024)
	for {
		n, err := r.Read(room)
		b = append(b, room[:n]...)
		switch end := bytes.Index(b, endOfRequest); {
		case len(b) > 0 && (b[0] < 'A' || b[0] > 'Z'):
			return nil, errNoHTTP
		case end >= 0 && end+len(endOfRequest) < len(b):
			return nil, errTooMuch
		case end >= 0:
			return b, nil
		case len(b) > maxHandshake:
			return nil, errTooLarge
		case err != nil:
			return nil, err
		}
	}
}

// decline answers a handshake that was refused, and waits a moment for the other end to close:
// closing with octets unread would take the answer with it.
func (d *door) decline(c *conn, err error) {
	d.t.count.refused("websocket")
	refused, is := errors.AsType[*ws.ConnectionRejectedError](err)
	if !is {
		return // nobody to answer
	}
	code, more := refused.StatusCode(), ""
	switch {
	case refused == ws.ErrHandshakeBadUpgrade, code == http.StatusUpgradeRequired:
		code, more = http.StatusUpgradeRequired, "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
	case code == http.StatusMethodNotAllowed:
		more = "Allow: GET\r\n"
	case code/100 != 4:
		code = http.StatusBadRequest
	}
	body := refused.Error() + "\n"
	_ = c.raw.SetDeadline(time.Now().Add(d.t.limits.drain))
	fmt.Fprintf(c.nc, "HTTP/1.1 %d %s\r\nConnection: close\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s",
		code, http.StatusText(code), more, len(body), body)
	_ = c.closeWrite()
	_, _ = io.Copy(io.Discard, io.LimitReader(c.nc, maxHandshake))
}
