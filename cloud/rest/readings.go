package rest

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"gnomon/cloud/identity"
	"gnomon/cloud/index"
	"gnomon/cloud/readings"
	"gnomon/schema"
	"gnomon/schema/reading"
)

// Readings is the service of collected readings as HTTP sees it.
type Readings interface {
	ReadingsFound
	Completeness(ctx context.Context, p identity.Principal, of readings.Policy, day string) (*readings.Completeness, error)
	KPIs(ctx context.Context, p identity.Principal, of []readings.Policy, day string) (readings.KPIs, error)
	Read(ctx context.Context, p identity.Principal, node string, r reading.Read) (*reading.Answer, error)
}

// ReadingsFound is where readings are looked up.
type ReadingsFound interface {
	PoliciesOf(ctx context.Context, p identity.Principal, node, name string) ([]readings.Policy, error)
	Walk(ctx context.Context, p identity.Principal, q readings.Query, each func(readings.Policy, *readings.Row) bool) error
}

// ReadingsOf says of which policies something is asked.
type ReadingsOf struct {
	Node     string `query:"node" doc:"only of this node" pattern:"^[a-zA-Z0-9:_-]{0,128}$"`
	Policy   string `query:"policy" doc:"only of policies with this name" pattern:"^[a-z0-9-]{0,48}$"`
	Selector string `query:"selector" doc:"only of policies that are selected, as for listShadows: site=s-7, zone=east; of those that are desired now"`
}

// ReadingsWanted says which readings are wanted.
type ReadingsWanted struct {
	ReadingsOf
	Meter string    `query:"meter" doc:"only of this meter" pattern:"^[a-zA-Z0-9._-]{0,64}$"`
	Item  string    `query:"item" doc:"only this item" pattern:"^[a-zA-Z0-9._-]{0,64}$"`
	From  time.Time `query:"from" doc:"the time that values are of, from here on; default 24 h before to"`
	To    time.Time `query:"to" doc:"and before this; default now"`
}

// ReadingsInput asks for readings.
type ReadingsInput struct {
	ReadingsWanted
	Limit    int    `query:"limit" minimum:"1" maximum:"5000" default:"500" doc:"of rows; where rows have many values there are fewer, and continue has the others"`
	Continue string `query:"continue" doc:"from an earlier answer, for the next part"`
}

// Reading is what one meter had at one time.
type Reading struct {
	Node   string                  `json:"node"`
	Policy string                  `json:"policy"`
	Meter  string                  `json:"meter"`
	At     time.Time               `json:"at" doc:"the time that the values are of: a freeze, or the slot"`
	Values map[string]ReadingValue `json:"values" doc:"by item"`
}

// Decimal is a number, in JSON with all its digits.
type Decimal struct{ reading.Number }

// Schema implements huma.SchemaProvider.
func (Decimal) Schema(huma.Registry) *huma.Schema { return &huma.Schema{Type: huma.TypeNumber} }

// ReadingValue is the value of an item, or why there is none.
type ReadingValue struct {
	Value   *Decimal  `json:"value,omitempty" doc:"exactly as the meter has it"`
	Missing string    `json:"missing,omitempty" doc:"why there is no value, such as timeout"`
	Source  string    `json:"source" enum:"cycle,backfill,demand,pushed" doc:"how it was read: in its slot, later, because somebody asked, or sent unasked"`
	Arrived time.Time `json:"arrived" doc:"when it reached the node, by its clock"`
}

type readingsOutput struct {
	Body struct {
		Items    []Reading `json:"items" doc:"by node, policy, stretch of four hours, meter and time"`
		Continue string    `json:"continue,omitempty"`
	}
}

// CompletenessInput names a policy and a day.
type CompletenessInput struct {
	Node   string `query:"node" required:"true" pattern:"^[a-zA-Z0-9:_-]{1,128}$"`
	Policy string `query:"policy" required:"true" pattern:"^[a-z0-9]([a-z0-9-]{0,46}[a-z0-9])?$"`
	DayInput
	Limit int `query:"limit" minimum:"1" maximum:"1000" default:"1000" doc:"of meters, the worst first"`
}

// DayInput names a day.
type DayInput struct {
	Day string `query:"day" doc:"by the clock of the policy's zone, such as 2026-11-21; default today, by that clock" pattern:"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"`
}

// KPIsInput asks how well collection went.
type KPIsInput struct {
	ReadingsOf
	DayInput
}

type completenessOutput struct{ Body *readings.Completeness }

type kpisOutput struct{ Body readings.KPIs }

// registerReadings adds the operations on readings.
func (s *Server) registerReadings() {
	get := func(path, id, summary, description string) huma.Operation {
		return huma.Operation{Method: http.MethodGet, Path: path, OperationID: id, Summary: summary, Description: description}
	}
	huma.Register(s.api, get("/v1/readings", "listReadings", "List collected readings",
		"Without node and selector of all nodes. A replica that hands readings to a sink keeps none and answers 503."), s.listReadings)
	huma.Register(s.api, get("/v1/completeness", "completeness", "Say of each meter of a policy and each slot of a day what is there",
		"What is expected follows from what was desired of the policy then, so that meters which never answered count. Values count by the time that they are of."), s.completeness)
	huma.Register(s.api, get("/v1/kpis", "kpis", "Say how well collection went on a day",
		"Of a policy, of all of a node, of those selected (such as selector=site=s-7), or of all that are desired; each by the day of its own zone."), s.kpis)
	s.registerRead()
	s.registerReadingsExport()
}

var errNoReadings = newProblem(http.StatusServiceUnavailable, "this server takes no readings")

// policiesOf finds the policies that a question is about. desired tells that those
// count which are desired now, and not those of which there are readings.
func (s *Server) policiesOf(ctx context.Context, of ReadingsOf, desired bool) ([]readings.Policy, error) {
	if s.cfg.Readings == nil {
		return nil, errNoReadings
	}
	if of.Selector == "" && !desired {
		list, err := s.cfg.Readings.PoliciesOf(ctx, s.principal(ctx), of.Node, of.Policy)
		return list, readingsProblem(err)
	}
	if of.Node != "" && of.Policy != "" && of.Selector == "" {
		return []readings.Policy{{Node: of.Node, Name: of.Policy}}, nil
	}
	sel, err := s.finding(ctx, of.Selector, SeesInput{})
	if err != nil {
		return nil, err
	}
	var out []readings.Policy
	for q := (index.Query{Kind: schema.KindPolicy, Selector: sel, Limit: 500}); ; {
		page, err := s.cfg.Index.List(ctx, s.principal(ctx), q)
		if err != nil {
			return nil, queryProblem(err)
		}
		for _, it := range page.Items {
			if (of.Node == "" || it.Node == of.Node) && (of.Policy == "" || it.Name == of.Policy) {
				out = append(out, readings.Policy{Node: it.Node, Name: it.Name})
			}
		}
		if len(out) > readings.MaxPolicies {
			return nil, newProblem(http.StatusBadRequest, fmt.Sprintf("more than %d policies are selected; choose fewer", readings.MaxPolicies))
		}
		if q.Continue = page.Continue; q.Continue == "" {
			return out, nil
		}
	}
}

// span fills in what is not said of a time.
func (w *ReadingsWanted) span(now time.Time) error {
	if w.To.IsZero() {
		w.To = now
	}
	if w.From.IsZero() {
		w.From = w.To.Add(-24 * time.Hour)
	}
	if !w.From.Before(w.To) {
		return newProblem(http.StatusBadRequest, fmt.Sprintf("from is %s; it must be before to, which is %s", w.From.Format(time.RFC3339), w.To.Format(time.RFC3339)))
	}
	return nil
}

// readingsMark is a place among readings, as tokens hold it.
type readingsMark struct {
	Node, Policy, Meter string
	At                  int64
	To                  int64 // the end that the first part had
}

func (m readingsMark) token() string {
	text, _ := json.Marshal(m) // texts and numbers
	return base64.RawURLEncoding.EncodeToString(text)
}

func parseMark(token string) (m readingsMark, err error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	if err != nil {
		return m, newProblem(http.StatusBadRequest, "continue is not a token from an earlier list")
	}
	return m, nil
}

// maxListed bounds the values of one answer, but for its last row.
const maxListed = 50_000

func (s *Server) listReadings(ctx context.Context, in *ReadingsInput) (*readingsOutput, error) {
	q := readings.Query{Meter: in.Meter, Item: in.Item}
	if in.Continue != "" {
		m, err := parseMark(in.Continue)
		if err != nil {
			return nil, err
		}
		q.After = &readings.Mark{Policy: readings.Policy{Node: m.Node, Name: m.Policy}, Position: readings.Position{Meter: m.Meter, At: m.At}}
		if in.To.IsZero() {
			in.To = time.UnixMilli(m.To)
		}
	}
	if err := in.span(time.Now()); err != nil {
		return nil, err
	}
	var err error
	if q.Policies, err = s.policiesOf(ctx, in.ReadingsOf, false); err != nil {
		return nil, err
	}
	q.From, q.To = in.From, in.To
	out := &readingsOutput{}
	out.Body.Items = []Reading{}
	var last readingsMark
	values := 0
	err = s.cfg.Readings.Walk(ctx, s.principal(ctx), q, func(of readings.Policy, r *readings.Row) bool {
		if len(out.Body.Items) == in.Limit || values >= maxListed {
			out.Body.Continue = last.token()
			return false
		}
		values += len(r.Items)
		out.Body.Items = append(out.Body.Items, readingOf(of, r))
		last = readingsMark{of.Node, of.Name, r.Meter, r.At, q.To.UnixMilli()}
		return true
	})
	return out, readingsProblem(err)
}

func readingOf(of readings.Policy, r *readings.Row) Reading {
	out := Reading{Node: of.Node, Policy: of.Name, Meter: r.Meter, At: time.UnixMilli(r.At).UTC(), Values: make(map[string]ReadingValue, len(r.Items))}
	for i, v := range r.Values {
		if v.State == reading.Absent {
			continue
		}
		one := ReadingValue{Missing: v.Reason, Source: v.Source.String(), Arrived: time.UnixMilli(v.Arrived).UTC()}
		if v.State == reading.Good {
			one.Value = &Decimal{v.Number}
		}
		out.Values[r.Items[i]] = one
	}
	return out
}

func (s *Server) completeness(ctx context.Context, in *CompletenessInput) (*completenessOutput, error) {
	if s.cfg.Readings == nil {
		return nil, errNoReadings
	}
	c, err := s.cfg.Readings.Completeness(ctx, s.principal(ctx), readings.Policy{Node: in.Node, Name: in.Policy}, in.Day)
	if err != nil {
		return nil, readingsProblem(err)
	}
	c.Meters = c.Meters[:min(len(c.Meters), in.Limit)]
	return &completenessOutput{c}, nil
}

func (s *Server) kpis(ctx context.Context, in *KPIsInput) (*kpisOutput, error) {
	of, err := s.policiesOf(ctx, in.ReadingsOf, true)
	if err != nil {
		return nil, err
	}
	k, err := s.cfg.Readings.KPIs(ctx, s.principal(ctx), of, in.Day)
	if err != nil {
		return nil, readingsProblem(err)
	}
	return &kpisOutput{k}, nil
}

// readingsProblem maps what the service of readings refuses.
func readingsProblem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, readings.ErrNoStore):
		p := newProblem(http.StatusServiceUnavailable, err.Error())
		p.Code = "no_readings_here"
		return p
	case errors.Is(err, readings.ErrUnusable):
		return newProblem(http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, readings.ErrDay), errors.Is(err, readings.ErrTooMany), errors.Is(err, reading.ErrMessage):
		return newProblem(http.StatusBadRequest, err.Error())
	case errors.Is(err, context.DeadlineExceeded):
		return newProblem(http.StatusServiceUnavailable, "that took too long; ask for less: a shorter time, a node, or fewer policies")
	}
	return problem(err, false)
}
