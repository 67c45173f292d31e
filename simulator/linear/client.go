package linear

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// client makes one request after the other and writes down what it saw.
type client struct {
	id      int
	base    string // of the API, through its own proxy
	http    *http.Client
	random  *rand.Rand
	shadows int
	seen    map[int]uint64 // the version seen last, by shadow
	history []porcupine.Operation
}

// patience is how long an answer is waited for.
const patience = 400 * time.Millisecond

// run makes requests until the faults are over, and then operations more.
func (c *client) run(ctx context.Context, operations int, faults <-chan struct{}, clock func() int64) error {
	unanswered := 0
	for n, left := 0, operations; left > 0; n++ {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-faults:
			left--
		default:
		}
		r := c.choose(n)
		sent := clock()
		a, made, err := c.do(ctx, r)
		if err != nil {
			return fmt.Errorf("client %d: %+v: %w", c.id, r, err)
		}
		if !made {
			c.pause(ctx, 0) // nobody was there to be asked
			continue
		}
		op := porcupine.Operation{ClientId: c.id, Input: r, Call: sent, Output: a, Return: clock()}
		if a.Outcome == Unknown {
			op.Return = math.MaxInt64 // it may happen whenever it likes
			// The fewer of these, the sooner the judge knows.
			c.pause(ctx, unanswered)
			unanswered++
		} else {
			unanswered = 0
		}
		if a.Outcome == Done {
			c.seen[r.Shadow] = a.Version
		}
		c.history = append(c.history, op)
	}
	return nil
}

// pause waits longer after every failure, up to 160 ms.
func (c *client) pause(ctx context.Context, failures int) {
	select {
	case <-time.After(5 * time.Millisecond << min(failures, 5)):
	case <-ctx.Done():
	}
}

func (c *client) choose(n int) Request {
	r := Request{Kind: Write, Shadow: c.random.IntN(c.shadows), Value: c.id*10_000 + n}
	switch d := c.random.IntN(20); {
	case d < 6:
		return Request{Kind: Read, Shadow: r.Shadow}
	case d == 6:
		return Request{Kind: Delete, Shadow: r.Shadow} // over HTTP the contract has no version with it
	}
	if version, known := c.seen[r.Shadow]; known && c.random.IntN(2) == 0 {
		r.Expect = &version
	}
	return r
}

// do makes a request. made is false when it can't have arrived.
func (c *client) do(ctx context.Context, r Request) (a Answer, made bool, err error) {
	method, body := http.MethodGet, ""
	switch r.Kind {
	case Write:
		method, body = http.MethodPost, fmt.Sprintf(`{"state":{"desired":{"value":%d}}}`, r.Value)
		if r.Expect != nil {
			body = fmt.Sprintf(`{"state":{"desired":{"value":%d}},"version":%d}`, r.Value, *r.Expect)
		}
	case Delete:
		method = http.MethodDelete
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	q, err := http.NewRequestWithContext(ctx, method, fmt.Sprintf("%s/things/linear-%d/shadow", c.base, r.Shadow), strings.NewReader(body))
	if err != nil {
		return a, false, err
	}
	answer, err := c.http.Do(q)
	if err != nil {
		var dial *net.OpError
		return Answer{Outcome: Unknown}, !(errors.As(err, &dial) && dial.Op == "dial"), nil
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return Answer{Outcome: Unknown}, true, nil //nolint:nilerr // cut off: what it said isn't known
	}
	a, err = parse(answer.StatusCode, text)
	if r.Kind != Read {
		a.Value = 0 // an update echoes the request
	}
	return a, true, err
}

func parse(status int, text []byte) (a Answer, err error) {
	switch status {
	case http.StatusOK:
	case http.StatusConflict:
		return Answer{Outcome: Conflict}, nil
	case http.StatusNotFound:
		return Answer{Outcome: Absent}, nil
	case http.StatusServiceUnavailable, http.StatusInternalServerError:
		return Answer{Outcome: Unknown}, nil
	default:
		return a, fmt.Errorf("answer %d: %.300s", status, text)
	}
	var body struct {
		Version uint64 `json:"version"`
		State   struct {
			Desired struct {
				Value int `json:"value"`
			} `json:"desired"`
		} `json:"state"`
	}
	if err := json.Unmarshal(text, &body); err != nil {
		return a, err
	}
	return Answer{Outcome: Done, Version: body.Version, Value: body.State.Desired.Value}, nil
}
