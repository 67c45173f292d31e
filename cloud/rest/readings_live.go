package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
)

const (
	readSuffix   = "/read"
	maxLive      = 2 * time.Minute // of a live read
	defaultLive  = 30 * time.Second
	liveAtMost   = maxLive + 10*time.Second // of the request for one
	maxLiveBytes = 64 << 10
)

// live tells whether a request, or a route, is a live read, which may take longer
// than other requests. An application or a policy may have the name read.
func live(path string) bool {
	node, ok := strings.CutPrefix(path, "/v1/nodes/")
	if !ok {
		return false
	}
	node, ok = strings.CutSuffix(node, readSuffix)
	return ok && node != "" && !strings.Contains(node, "/")
}

// ReadInput asks a node for what a meter has.
type ReadInput struct {
	NodeInput
	Body ReadRequest
}

// ReadRequest says what is to be read.
type ReadRequest struct {
	Policy   string   `json:"policy" minLength:"1" maxLength:"64"`
	Meter    string   `json:"meter" minLength:"1" maxLength:"64"`
	Items    []string `json:"items,omitempty" maxItems:"500" doc:"none: all that the policy reads of it"`
	Live     bool     `json:"live,omitempty" doc:"from the meter, ahead of what is read in cycles; else the latest that the node has"`
	Deadline string   `json:"deadline,omitempty" doc:"within which the node must have answered, 1s to 2m, such as 30s, which is the default"`
}

// ReadAnswer is what came of it.
type ReadAnswer struct {
	Error  *reading.Refusal    `json:"error,omitempty" doc:"why nothing, or not everything, was read: the code is invalid, unknown, busy, deadline, failed or none"`
	Values map[string]ReadItem `json:"values,omitempty" doc:"by item"`
}

// ReadItem is the value of an item, with the time that it is of.
type ReadItem struct {
	At time.Time `json:"at"`
	ReadingValue
}

type readOutput struct{ Body ReadAnswer }

func (s *Server) registerRead() {
	huma.Register(s.api, huma.Operation{
		Method: http.MethodPost, Path: "/v1/nodes/{node}" + readSuffix, OperationID: "readMeter", Summary: "Read a meter through its node, now",
		Description:  "503 with the code node_offline: the node isn't connected here; 504: it has not answered in time.",
		MaxBodyBytes: maxLiveBytes, DefaultStatus: http.StatusOK,
	}, s.readMeter)
}

func (s *Server) readMeter(ctx context.Context, in *ReadInput) (*readOutput, error) {
	if s.cfg.Readings == nil {
		return nil, errNoReadings
	}
	deadline := defaultLive
	if text := in.Body.Deadline; text != "" {
		var err error
		if deadline, err = time.ParseDuration(text); err != nil || deadline < time.Second || deadline > maxLive {
			return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("deadline is %q; it must be from 1s to %s, such as 30s", text, maxLive))
		}
	}
	a, err := s.cfg.Readings.Read(ctx, s.principal(ctx), in.Node, reading.Read{
		Policy: in.Body.Policy, Meter: in.Body.Meter, Items: in.Body.Items, Live: in.Body.Live, Deadline: deadline.Milliseconds(),
	})
	switch {
	case errors.Is(err, readings.ErrOffline):
		p := newProblem(http.StatusServiceUnavailable, err.Error()+"; is its agent running, and its link up? What the cloud has of its meters can be read without live")
		p.Code = "node_offline"
		return nil, p
	case errors.Is(err, readings.ErrLate):
		p := newProblem(http.StatusGatewayTimeout, err.Error()+": its line may be busy, or its link slow; try again with a longer deadline")
		p.Code = "deadline"
		return nil, p
	case errors.Is(err, readings.ErrBusy):
		return nil, newProblem(http.StatusTooManyRequests, err.Error())
	case err != nil:
		return nil, readingsProblem(err)
	}
	out := &readOutput{ReadAnswer{Error: a.Error, Values: make(map[string]ReadItem, len(a.Values))}}
	for item, v := range a.Values {
		one := ReadItem{v.At, ReadingValue{Missing: v.Reason, Source: v.Source.String(), Arrived: v.Arrived}}
		if v.Value != nil {
			one.Value = &Decimal{*v.Value}
		}
		out.Body.Values[item] = one
	}
	return out, nil
}
