package cloudapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// ErrEventsGone means that events were missed: the cloud restarted, or the last
// one seen is too old. What happened meanwhile has to be read.
var ErrEventsGone = errors.New("events were missed")

// Event is a committed change of a shadow, as the cloud announces it.
type Event struct {
	ID             string `json:"id"`
	Thing          string `json:"thing"`
	Shadow         string `json:"shadow"`
	Kind           string `json:"kind"`
	Version        uint64 `json:"version"`
	DesiredVersion uint64 `json:"desiredVersion"`
	Phase          string `json:"phase"`
	Converged      bool   `json:"converged"`
}

// maxEvent bounds one line of the stream.
const maxEvent = 256 << 10

// Events follows committed changes, from now on or after the event named last,
// and hands each to see until ctx ends or the stream breaks. It calls open once
// the stream stands, and returns the last event's ID.
func (c *Client) Events(ctx context.Context, last string, open func(), see func(Event)) (string, error) {
	header := http.Header{"Accept": {"text/event-stream"}}
	if last != "" {
		header["Last-Event-ID"] = []string{last}
	}
	const path = "/v1/events"
	resp, err := c.send(ctx, http.MethodGet, path, nil, header)
	if err != nil {
		return last, err
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusGone:
		return "", ErrEventsGone
	default:
		return last, &StatusError{Request: "GET " + path, Status: resp.StatusCode}
	}
	open()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 4096), maxEvent)
	var data []byte
	for lines.Scan() {
		field, value, _ := bytes.Cut(lines.Bytes(), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(lines.Bytes()) == 0: // the end of one event
			if len(data) == 0 {
				continue
			}
			var e Event
			if err := json.Unmarshal(data, &e); err != nil {
				return last, fmt.Errorf("decode an event: %w", err)
			}
			data = data[:0]
			see(e)
		case string(field) == "id":
			last = string(value)
		case string(field) == "data":
			if len(data)+len(value) > maxEvent {
				return last, fmt.Errorf("an event of more than %d bytes", maxEvent)
			}
			data = append(data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		return last, err
	}
	return last, errors.New("the cloud ended the event stream")
}
