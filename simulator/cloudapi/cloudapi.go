// Package cloudapi makes the few REST calls a simulation needs: write and read
// shadows, set an application, follow events. It opens at most
// Options.Connections connections, bounds what it reads, and never retries: a
// simulation has to know what every single request came to.
package cloudapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options of a Client.
type Options struct {
	Base        string        // such as http://127.0.0.1:8080
	Connections int           // open at once; default 64
	Timeout     time.Duration // of one request; default 30 s
}

// maxBody bounds a response: twice the largest document with its metadata.
const maxBody = 1 << 20

// Client calls one cloud. It may be used by any number of goroutines.
type Client struct {
	base    string
	timeout time.Duration
	http    *http.Client
}

// New returns a client for the cloud at o.Base.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Base)
	if err != nil || u.Scheme == "" || u.Host == "" {
		return nil, fmt.Errorf("the cloud's address %q must look like http://127.0.0.1:8080", o.Base)
	}
	if o.Connections == 0 {
		o.Connections = 64
	}
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	return &Client{
		base:    strings.TrimSuffix(o.Base, "/"),
		timeout: o.Timeout,
		http: &http.Client{Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: o.Timeout}).DialContext,
			MaxConnsPerHost:     o.Connections,
			MaxIdleConnsPerHost: o.Connections,
			DisableCompression:  true,
		}},
	}, nil
}

// Close closes the idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// StatusError is an answer that is no success.
type StatusError struct {
	Request string // such as PUT /v1/nodes/n1/apps/web
	Status  int
	Body    string // at most 512 bytes of it
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: status %d: %s", e.Request, e.Status, e.Body)
}

// do makes one request and decodes a JSON answer into out.
func (c *Client) do(ctx context.Context, method, path string, body []byte, out any) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	resp, err := c.send(ctx, method, path, body, nil)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody+1))
	if err != nil {
		return fmt.Errorf("%s %s: read the answer: %w", method, path, err)
	}
	if len(answer) > maxBody {
		return fmt.Errorf("%s %s: an answer of more than %d bytes", method, path, maxBody)
	}
	if resp.StatusCode >= 300 {
		return &StatusError{Request: method + " " + path, Status: resp.StatusCode, Body: string(bytes.TrimSpace(answer[:min(len(answer), 512)]))}
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		return fmt.Errorf("%s %s: decode the answer: %w", method, path, err)
	}
	return nil
}

func (c *Client) send(ctx context.Context, method, path string, body []byte, header http.Header) (*http.Response, error) {
	var r io.Reader
	if body != nil {
		r = bytes.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, r)
	if err != nil {
		return nil, err
	}
	for k, v := range header {
		req.Header[k] = v
	}
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	return c.http.Do(req)
}

// Accepted is the answer to an update of a shadow.
type Accepted struct {
	Version     uint64 `json:"version"`
	Timestamp   int64  `json:"timestamp"`
	ClientToken string `json:"clientToken"`
}

// Document is a shadow as the cloud holds it.
type Document struct {
	Version uint64 `json:"version"`
	State   struct {
		Desired  json.RawMessage `json:"desired"`
		Reported json.RawMessage `json:"reported"`
		Delta    json.RawMessage `json:"delta"`
	} `json:"state"`
}

// UpdateShadow posts an update body to a shadow; name "" is the classic one.
func (c *Client) UpdateShadow(ctx context.Context, thing, name string, body []byte) (Accepted, error) {
	var a Accepted
	err := c.do(ctx, http.MethodPost, shadowPath(thing, name), body, &a)
	return a, err
}

// GetShadow reads a shadow; name "" is the classic one.
func (c *Client) GetShadow(ctx context.Context, thing, name string) (Document, error) {
	var d Document
	err := c.do(ctx, http.MethodGet, shadowPath(thing, name), nil, &d)
	return d, err
}

func shadowPath(thing, name string) string {
	path := "/things/" + url.PathEscape(thing) + "/shadow"
	if name != "" {
		path += "?name=" + url.QueryEscape(name)
	}
	return path
}
