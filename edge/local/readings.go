package local

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"gnomon/edge/collect"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
)

// Readings is what is kept of what the node collects.
type Readings interface {
	Find(ctx context.Context, q readings.Query) (all []readings.Found, more bool, err error)

	// Gaps lists what a policy should have read and is not there, oldest first.
	// The error is collect.ErrUnknown where there is no such policy.
	Gaps(q readings.Query) ([]collect.Gap, error)
}

// Reader asks meters.
type Reader interface {
	Read(ctx context.Context, r *reading.Read) *reading.Answer
}

// Rows are readings that are kept, by time, policy and meter.
type Rows struct {
	Rows []Row `json:"rows"`
	More bool  `json:"more,omitempty"` // there are others after them

	// Continue asks for those, beside what else was asked for.
	Continue string `json:"continue,omitempty"`
}

// Row is what is kept of one meter and time.
type Row struct {
	readings.Found
	Values map[string]Value `json:"values"` // by item
}

// Value is a value, or why there is none.
type Value struct {
	Value  *reading.Number `json:"value,omitempty"`
	Reason string          `json:"reason,omitempty"`
}

// Gap is a row that lacks values.
type Gap struct {
	Policy string    `json:"policy"`
	Meter  string    `json:"meter"`
	At     time.Time `json:"at"`
	Items  []string  `json:"items"` // the missing ones
	Tried  int       `json:"tried"` // how often they were asked for in vain
}

// ErrQuery: what is asked for isn't understood.
var ErrQuery = errors.New("can't be asked for")

// maxFinding bounds the answers that are looked up and written at a time: each takes
// some megabytes. Others wait for finding, and are refused then.
const (
	maxFinding = 2
	finding    = 10 * time.Second
)

func (s *Server) readings(w http.ResponseWriter, r *http.Request) {
	q, err := queryOf(r.URL.Query())
	if err != nil {
		refuse(w, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), finding)
	defer cancel()
	select {
	case s.finding <- struct{}{}:
		defer func() { <-s.finding }()
	case <-ctx.Done():
		refuse(w, &Problem{Status: http.StatusServiceUnavailable, Code: "busy", Detail: "others ask for readings", Next: "ask again later"})
		return
	}
	all, more, err := s.cfg.Readings.Find(r.Context(), q)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = writeRows(w, all, more) // the asker may have left
}

// writeRows writes Rows, one row after another.
func writeRows(w io.Writer, all []readings.Found, more bool) error {
	out := bufio.NewWriter(w)
	enc := json.NewEncoder(out)
	_, _ = out.WriteString(`{"rows":[`) // Flush tells
	for i, f := range all {
		if i > 0 {
			_ = out.WriteByte(',')
		}
		row := Row{Found: f, Values: make(map[string]Value, len(f.Values))}
		for _, v := range f.Values {
			value := Value{Reason: v.Reason}
			if v.State == reading.Good {
				value.Value = &v.Number
			}
			row.Values[v.Item] = value
		}
		if err := enc.Encode(row); err != nil {
			return err
		}
	}
	_, _ = out.WriteString("]")
	if more {
		_, _ = fmt.Fprintf(out, `,"more":true,"continue":%q`, tokenOf(all[len(all)-1].Place()))
	}
	_, _ = out.WriteString("}\n")
	return out.Flush()
}

func (s *Server) gaps(r *http.Request) (any, error) {
	q, err := queryOf(r.URL.Query())
	if err != nil {
		return nil, err
	}
	if q.Policy == "" {
		return nil, fmt.Errorf("%w: policy must be given", ErrQuery)
	}
	all, err := s.cfg.Readings.Gaps(q)
	if err != nil {
		return nil, err
	}
	gaps := make([]Gap, 0, len(all))
	for _, g := range all {
		gaps = append(gaps, Gap{q.Policy, g.Meter, g.At, g.Items, g.Tried})
	}
	return gaps, nil
}

func (s *Server) readNow(r *http.Request) (any, error) {
	req := new(reading.Read)
	if err := read(r, req); err != nil {
		return nil, err
	}
	if req.ID == "" {
		req.ID = "local"
	}
	if err := req.Check(); err != nil {
		return nil, bad("invalid", err.Error(), "")
	}
	s.cfg.Log.Info("a meter is asked for on the node", "policy", req.Policy, "meter", req.Meter, "live", req.Live, "by", asker(r, ""))
	// It is answered later than others may be.
	until := time.Now().Add(time.Duration(req.Deadline)*time.Millisecond + writeTimeout)
	if w, ok := r.Context().Value(writerKey{}).(http.ResponseWriter); ok {
		_ = http.NewResponseController(w).SetWriteDeadline(until)
	}
	return s.cfg.Reader.Read(r.Context(), req), nil
}

type writerKey struct{}

// tokenOf says after which row to go on.
func tokenOf(p readings.Place) string {
	return base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%d %s %s", p.At.UnixMilli(), p.Policy, p.Meter))
}

// placeOf reads it.
func placeOf(token string) (*readings.Place, error) {
	text, err := base64.RawURLEncoding.DecodeString(token)
	of := strings.SplitN(string(text), " ", 3) // the name of a policy has no spaces
	if err != nil || len(of) != 3 {
		return nil, fmt.Errorf("%w: continue is not a token from an earlier list", ErrQuery)
	}
	ms, err := strconv.ParseInt(of[0], 10, 64)
	if err != nil {
		return nil, fmt.Errorf("%w: continue is not a token from an earlier list", ErrQuery)
	}
	return &readings.Place{At: time.UnixMilli(ms).UTC(), Policy: of[1], Meter: of[2]}, nil
}

// queryOf reads what is asked for.
func queryOf(v url.Values) (q readings.Query, err error) {
	for name := range v {
		if !slices.Contains([]string{"policy", "meter", "item", "from", "to", "limit", "continue"}, name) {
			return q, fmt.Errorf("%w: %s is not known", ErrQuery, name)
		}
	}
	q = readings.Query{Policy: v.Get("policy"), Meter: v.Get("meter"), Items: v["item"]}
	for name, to := range map[string]*time.Time{"from": &q.From, "to": &q.To} {
		if text := v.Get(name); text != "" {
			if *to, err = time.Parse(time.RFC3339Nano, text); err != nil {
				return q, fmt.Errorf("%w: %s %q: must be a time such as 2006-01-02T15:04:05Z", ErrQuery, name, text)
			}
		}
	}
	if text := v.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 || q.Limit > readings.MaxFound {
			return q, fmt.Errorf("%w: limit %q: must be 1 to %d", ErrQuery, text, readings.MaxFound)
		}
	}
	if token := v.Get("continue"); token != "" {
		q.After, err = placeOf(token)
	}
	return q, err
}
