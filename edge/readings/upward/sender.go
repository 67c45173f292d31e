package upward

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"gnomon/edge/link"
	"gnomon/edge/readings"
	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

// Limits of a Sender.
const (
	maxFlights  = 2 // batches that are on their way
	firstSize   = 4 << 10
	leastSize   = 1 << 10
	mostSize    = 32 << 10 // of the rows in a batch, as they are on disk
	quick, slow = time.Second, 4 * time.Second
	patience    = 20 * time.Second // for an answer, and a second for every slowest bytes
	slowest     = 1000
	maxTries    = 4                // doublings of patience
	saveEvery   = 30 * time.Second // what is acknowledged is on disk after that, whatever is put
	burst       = 2 * time.Second  // of the budget that may be saved up
	packet      = 16               // bytes around a message besides its topic, about
	maxAnswers  = 32               // that wait for the connection
	maxVerdicts = 64
)

// Store is where readings come from.
type Store interface {
	Take(bytes int) (p *readings.Parcel, next time.Time)
	Done(p *readings.Parcel, refused *readings.Refusal)
	Return(p *readings.Parcel)
	Save() error
}

// Config of a Sender. Rate may be nil; Now and Log, too.
type Config struct {
	Node    string
	Epoch   uint64 // of this start
	Store   Store
	Changed <-chan struct{} // the store may have something
	Nudge   func()          // has Send called
	Rate    func() int      // bytes a second; 0: as many as there are
	Reader  *Reader         // nil: nothing is read for the cloud
	Now     func() time.Time
	Log     *slog.Logger
}

// Sender implements link.Traffic.
type Sender struct {
	cfg      Config
	topics   wire.Readings
	wake     chan struct{}
	verdicts chan verdict

	mu       sync.Mutex
	online   bool
	answers  []link.Message
	ready    *flight // the next batch
	flights  []*flight
	count    uint64
	size     int       // of batches, by how quickly they are answered
	singly   int       // frames that go alone: one of them was refused
	tries    int       // answers in a row that didn't come
	pause    time.Time // nothing is sent before
	tokens   float64   // bytes that may be sent
	tokensAt time.Time
	counters Counters
}

// Counters count since the start.
type Counters struct {
	Batches    int64 `json:"batches"` // sent
	Accepted   int64 `json:"accepted"`
	Rejected   int64 `json:"rejected"`
	Unanswered int64 `json:"unanswered"`
	Bytes      int64 `json:"bytes"` // of what was sent, topics included
	Points     int64 `json:"points"`
}

// flight is a batch that is sent, or will be.
type flight struct {
	id      uint64
	parcel  *readings.Parcel
	message link.Message
	frames  int
	sent    time.Time
	expires time.Time
}

type verdict struct {
	reading.Verdict
	rejected bool
}

// New returns a sender that sends nothing before Run.
func New(cfg Config) *Sender {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Rate == nil {
		cfg.Rate = func() int { return 0 }
	}
	return &Sender{cfg: cfg, topics: wire.Readings{Thing: cfg.Node}, size: firstSize,
		wake: make(chan struct{}, 1), verdicts: make(chan verdict, maxVerdicts)}
}

// Filters implements link.Traffic.
func (s *Sender) Filters() []string {
	all := []string{s.topics.Accepted(), s.topics.Rejected()}
	if s.cfg.Reader != nil {
		all = append(all, s.topics.Read())
	}
	return all
}

// Online implements link.Traffic.
func (s *Sender) Online(up bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.online = up
	s.answers = nil // who asked has lost the connection too, or asks again
	if !up {
		for _, f := range s.flights {
			f.expires = time.Time{} // given back by Run
		}
	}
	s.signal()
}

func (s *Sender) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Send implements link.Traffic: answers go first, somebody waits for them.
func (s *Sender) Send() *link.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.answers) > 0 {
		m := s.answers[0]
		s.answers = s.answers[1:]
		s.spend(&m)
		return &m
	}
	f := s.ready
	if f == nil || !s.online {
		return nil
	}
	s.ready = nil
	f.sent = s.cfg.Now()
	f.expires = f.sent.Add(patience<<min(s.tries, maxTries) + time.Duration(len(f.message.Payload))*time.Second/slowest)
	s.flights = append(s.flights, f)
	s.spend(&f.message)
	s.counters.Batches++
	s.counters.Points += int64(f.parcel.Points)
	s.signal()
	return &f.message
}

// spend counts the bytes of a message; mu is held.
func (s *Sender) spend(m *link.Message) {
	n := len(m.Topic) + len(m.Payload) + packet
	s.counters.Bytes += int64(n)
	s.tokens -= float64(n)
}

// Receive implements link.Traffic.
func (s *Sender) Receive(topic string, payload []byte) {
	switch topic {
	case s.topics.Accepted(), s.topics.Rejected():
		v, err := reading.ParseVerdict(payload)
		if err != nil {
			s.cfg.Log.Warn("what the cloud says of readings can't be read", "error", err)
			return
		}
		select {
		case s.verdicts <- verdict{v, topic == s.topics.Rejected()}:
		default: // the batch is sent again
		}
	case s.topics.Read():
		if s.cfg.Reader != nil {
			s.cfg.Reader.ask(payload, s.answer)
		}
	}
}

// answer sends what became of a request, if there is a connection and room.
func (s *Sender) answer(a *reading.Answer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.online || len(s.answers) >= maxAnswers {
		return
	}
	s.answers = append(s.answers, link.Message{Topic: s.topics.Answer(), Payload: a.Append(nil)})
	s.cfg.Nudge()
}

// Run prepares batches and deals with what becomes of them until ctx ends.
func (s *Sender) Run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	saved := s.cfg.Now()
	for {
		wait := s.step()
		if now := s.cfg.Now(); now.Sub(saved) >= saveEvery || now.Before(saved) {
			saved = now
			_ = s.cfg.Store.Save() // it is in its status
		}
		timer.Reset(min(wait, saveEvery))
		select {
		case <-ctx.Done():
			s.giveBack()
			return nil
		case v := <-s.verdicts:
			s.judged(v)
		case <-s.cfg.Changed:
		case <-s.wake:
		case <-timer.C:
		}
	}
}

// giveBack ends all flights.
func (s *Sender) giveBack() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.online = false
	for _, f := range append(s.flights, s.ready) {
		if f != nil {
			s.cfg.Store.Return(f.parcel)
		}
	}
	s.flights, s.ready = nil, nil
}

// step gives back what was not answered and prepares the next batch. It returns
// how long nothing else will be to do.
func (s *Sender) step() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.cfg.Now()
	next := s.expire(now)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	if s.online && s.ready == nil && len(s.flights) < maxFlights {
		switch allowed := s.allowed(now); {
		case now.Before(s.pause):
			sooner(s.pause)
		case allowed.After(now):
			sooner(allowed)
		default:
			due := s.prepare()
			sooner(due)
		}
	}
	return max(next.Sub(now), time.Millisecond)
}

// expire gives back flights that got no answer, and returns when the next will be.
func (s *Sender) expire(now time.Time) (next time.Time) {
	next = now.Add(saveEvery)
	s.flights = slices.DeleteFunc(s.flights, func(f *flight) bool {
		if f.expires.IsZero() || now.After(f.expires) || now.Before(f.sent.Add(-time.Minute)) { // of a clock that was set
			s.cfg.Store.Return(f.parcel)
			if !f.expires.IsZero() {
				s.counters.Unanswered++
				s.tries++
				s.size = max(s.size/2, leastSize)
				s.pause = now.Add(time.Second << min(s.tries, 2*maxTries))
				s.cfg.Log.Warn("readings unanswered", "batch", f.id, "points", f.parcel.Points, "inARow", s.tries)
			}
			return true
		}
		if f.expires.Before(next) {
			next = f.expires
		}
		return false
	})
	if !s.online && s.ready != nil {
		s.cfg.Store.Return(s.ready.parcel)
		s.ready = nil
	}
	return next
}

// allowed is when the budget lets the next batch go.
func (s *Sender) allowed(now time.Time) time.Time {
	rate := float64(s.cfg.Rate())
	if rate <= 0 {
		s.tokens, s.tokensAt = 0, now
		return now
	}
	if since := now.Sub(s.tokensAt).Seconds(); since > 0 {
		s.tokens = min(s.tokens+since*rate, rate*burst.Seconds())
	}
	s.tokensAt = now
	if s.tokens >= 0 {
		return now
	}
	return now.Add(max(time.Duration(-s.tokens/rate*float64(time.Second)), time.Millisecond))
}

// prepare has the next batch ready. It returns when there will be one, if there is
// none now.
func (s *Sender) prepare() (due time.Time) {
	size := s.size
	if rate := s.cfg.Rate(); rate > 0 {
		size = min(size, max(rate*int(slow/time.Second), leastSize))
	}
	if s.singly > 0 {
		size = 1
		s.singly--
	}
	p, due := s.cfg.Store.Take(size)
	if p == nil {
		return due
	}
	s.count++
	p.Batch.ID = s.cfg.Epoch<<20 + s.count
	payload, err := p.Batch.Append(nil)
	if err != nil { // rows of frames that were checked
		s.cfg.Log.Error("readings can't be encoded", "policy", p.Batch.Policy, "error", err)
		s.cfg.Store.Done(p, s.refusal(p, 0, err.Error()))
		s.signal()
		return due
	}
	s.ready = &flight{id: p.Batch.ID, parcel: p, message: link.Message{Topic: s.topics.Batch(), Payload: payload}, frames: p.Frames()}
	s.cfg.Nudge()
	return due
}

func (s *Sender) refusal(p *readings.Parcel, code int, message string) *readings.Refusal {
	return &readings.Refusal{Policy: p.Batch.Policy, Code: code, Message: message, At: s.cfg.Now().UTC()}
}

// judged deals with what the cloud says of a batch.
func (s *Sender) judged(v verdict) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := slices.IndexFunc(s.flights, func(f *flight) bool { return f.id == v.ID })
	if at < 0 {
		return // given up, and sent again
	}
	f := s.flights[at]
	s.flights = slices.Delete(s.flights, at, at+1)
	now := s.cfg.Now()
	if !v.rejected {
		s.counters.Accepted++
		s.tries = 0
		s.cfg.Store.Done(f.parcel, nil)
		switch took := now.Sub(f.sent); {
		case took < quick:
			s.size = min(2*s.size, mostSize)
		case took > slow:
			s.size = max(s.size/2, leastSize)
		}
		return
	}
	s.counters.Rejected++
	s.cfg.Log.Warn("readings refused", "batch", f.id, "policy", f.parcel.Batch.Policy, "points", f.parcel.Points, "code", v.Code, "reason", v.Message)
	switch {
	case !v.Final():
		s.tries++
		s.pause = now.Add(time.Second << min(s.tries, 2*maxTries))
		s.cfg.Store.Return(f.parcel)
	case f.frames > 1: // it may be one of them
		s.singly = max(s.singly, f.frames)
		s.cfg.Store.Return(f.parcel)
	default:
		s.tries = 0
		s.cfg.Store.Done(f.parcel, s.refusal(f.parcel, v.Code, v.Message))
	}
}

// Status is how it goes.
type Status struct {
	Counters
	Rate     int `json:"rate,omitempty"` // bytes a second that may be sent
	Underway int `json:"underway"`       // batches
}

// Status tells how it goes.
func (s *Sender) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Counters: s.counters, Rate: s.cfg.Rate(), Underway: len(s.flights)}
}
