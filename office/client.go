package office

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
)

// Client asks the running offices of a state directory over their control socket.
type Client struct {
	state string
	http  *http.Client
	token string
}

// Refusal is a command that could not be done, with the exit code it should end with.
type Refusal struct{ Problem }

// Error is what the office said.
func (r *Refusal) Error() string { return r.Problem.Error }

// Dial finds the control socket of state. [ErrNotRunning]: nobody is there.
func Dial(state string) (*Client, error) {
	network, addr, token, err := dialControl(state)
	if err != nil {
		return nil, err
	}
	c := &Client{state: state, token: token, http: &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, addr)
		},
	}}}
	return c, nil
}

// Ask sends one request and reads its answer into into, unless nil. body is sent as JSON, an io.Reader as it is.
// A *Refusal is what the office would not do.
func (c *Client) Ask(ctx context.Context, method, path string, query url.Values, body, into any) error {
	res, err := c.send(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if into == nil {
		return nil
	}
	return json.NewDecoder(res.Body).Decode(into)
}

// Trace gives what the office sends and receives until ctx ends or give returns an error.
func (c *Client) Trace(ctx context.Context, query url.Values, give func(Seen) error) error {
	res, err := c.send(ctx, http.MethodGet, "/trace", query, nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	in := json.NewDecoder(res.Body)
	for {
		var s Seen
		switch err := in.Decode(&s); {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the office has stopped")
		case err != nil:
			return err
		}
		if err := give(s); err != nil {
			return err
		}
	}
}

// send gives the answer to a request, when it is one of success.
func (c *Client) send(ctx context.Context, method, path string, query url.Values, body any) (*http.Response, error) {
	var r io.Reader
	switch b := body.(type) {
	case nil:
	case io.Reader:
		r = b
	default:
		text, err := json.Marshal(b)
		if err != nil {
			return nil, err
		}
		r = bytes.NewReader(text)
	}
	u := url.URL{Scheme: "http", Host: "office", Path: path, RawQuery: query.Encode()}
	req, err := http.NewRequestWithContext(ctx, method, u.String(), r)
	if err != nil {
		return nil, err
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	res, err := c.http.Do(req)
	switch {
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, os.ErrNotExist):
		return nil, fmt.Errorf("%s: %w", c.state, ErrNotRunning)
	case err != nil:
		return nil, fmt.Errorf("control socket of %s: %w", c.state, Reason(err))
	case res.StatusCode == http.StatusOK:
		return res, nil
	}
	defer res.Body.Close()
	var p Problem
	if err := json.NewDecoder(res.Body).Decode(&p); err != nil {
		return nil, fmt.Errorf("control socket of %s: %s", c.state, res.Status)
	}
	return nil, &Refusal{p}
}

// Running says that somebody answers.
func (c *Client) Running() bool {
	return c.Ask(context.Background(), http.MethodGet, "/log", nil, nil, nil) == nil
}
