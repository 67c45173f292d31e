package local

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"
	"time"
)

// ErrNoAgent: no agent runs on the directory.
var ErrNoAgent = errors.New("no agent runs")

// Client asks the agent of a directory.
type Client struct {
	data string
	http http.Client
}

// NewClient returns a client for the agent of a directory, which need not run.
func NewClient(data string) *Client {
	return &Client{data: data, http: http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext:       func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx, data) },
	}}}
}

// patience is how long an answer may take. A log that is followed has no end.
const patience = 30 * time.Second

// maxAnswer bounds what is read of an answer.
const maxAnswer = 32 << 20

// Ask sends a request and reads the answer into answer, if that isn't nil. What
// the agent refuses is a *Problem.
func (c *Client) Ask(ctx context.Context, method, path string, body, answer any, headers ...string) error {
	return c.AskFor(ctx, patience, method, path, body, answer, headers...)
}

// AskFor is Ask of what may take long.
func (c *Client) AskFor(ctx context.Context, patience time.Duration, method, path string, body, answer any, headers ...string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	r, err := c.send(ctx, method, path, body, headers...)
	if err != nil {
		return err
	}
	defer r.Close()
	if answer == nil {
		return nil
	}
	bounded := &io.LimitedReader{R: r, N: maxAnswer}
	if err = json.NewDecoder(bounded).Decode(answer); err != nil && bounded.N <= 0 {
		return fmt.Errorf("ask the agent of %s: the answer has more than %d bytes; ask for less", c.data, maxAnswer)
	}
	return err
}

// Stream sends a request and returns the answer to be read as it comes.
func (c *Client) Stream(ctx context.Context, path string) (io.ReadCloser, error) {
	return c.send(ctx, http.MethodGet, path, nil)
}

func (c *Client) send(ctx context.Context, method, path string, body any, headers ...string) (io.ReadCloser, error) {
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, bytes.NewReader(text))
	if err != nil {
		return nil, err
	}
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	answer, err := c.http.Do(r)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return nil, fmt.Errorf("%w on %s; start one with gnomon-edge run, or name its directory with --data", ErrNoAgent, c.data)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("the agent of %s can't be asked: %w; ask as root, or as the user it runs as", c.data, fs.ErrPermission)
	case err != nil:
		return nil, fmt.Errorf("ask the agent of %s: %w", c.data, err)
	}
	if answer.StatusCode/100 == 2 {
		return answer.Body, nil
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, maxBody))
	if err != nil {
		return nil, err
	}
	return nil, problemFrom(answer.StatusCode, answer.Header.Get("Content-Type"), text)
}
