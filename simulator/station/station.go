package station

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"gnomon/edge/collect/q376/wire"
)

// Station is one area. Nothing happens in it before somebody is attached.
type Station struct {
	cfg    Config
	meters []*Meter
	number map[wire.Address]*Meter
	main   wire.Address
	start  time.Time // in the area

	ctx    context.Context // of everything that is under way; kept because requests outlive connections
	cancel context.CancelFunc
	jobs   sync.WaitGroup

	mu      sync.Mutex
	closed  bool
	line    *line // the concentrator; nil = nobody is attached
	archive []wire.Node
	routing bool
	run     int                   // how often the CCO has started
	busy    map[wire.Address]int  // meters being read at once, and since which run
	next    int                   // whom the routing asks about next
	done    map[wire.Address]bool // of whom nothing more is wanted in this round
	said    int                   // answers so far
	status  Status
	perRead map[wire.Address]readStat // by meter
}

type readStat struct{ ok, failed int }

// New builds an area. It starts nothing.
func New(cfg Config) (*Station, error) {
	cfg.defaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Station{
		cfg: cfg, number: make(map[wire.Address]*Meter, cfg.Meters), start: cfg.Now(), routing: true, run: 1,
		busy: make(map[wire.Address]int), done: make(map[wire.Address]bool), perRead: make(map[wire.Address]readStat),
	}
	s.status.Denied = make(map[byte]int)
	var err error
	if s.main, err = wire.ParseAddress(fmt.Sprintf("%012d", cfg.MainNode)); err != nil {
		return nil, fmt.Errorf("%w: main node: %w", ErrConfig, err)
	}
	dice := rand.New(rand.NewPCG(cfg.Seed, 1))
	for n := 1; n <= cfg.Meters; n++ {
		m, err := newMeter(&cfg, n, dice)
		if err != nil {
			return nil, err
		}
		if m.Parent > 0 {
			m.Hops = s.meters[m.Parent-1].Hops + 1
		}
		s.meters = append(s.meters, m)
		s.number[m.Address] = m
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

func newMeter(cfg *Config, n int, dice *rand.Rand) (*Meter, error) {
	address, err := wire.ParseAddress(fmt.Sprintf("%012d", cfg.First+uint64(n-1)))
	if err != nil {
		return nil, fmt.Errorf("%w: meter %d: %w", ErrConfig, n, err)
	}
	m := &Meter{every: cfg.Record, Number: n, Address: address, Protocol: wire.DLT645, Phases: 1, Hops: 1, Phase: 1 + n%3}
	if share(n, cfg.Share698) {
		m.Protocol = wire.DLT698
	}
	if share(n, cfg.ThreePhase) {
		m.Phases = 3
	}
	if n > cfg.Branches {
		m.Parent = (n - 1) / cfg.Branches
	}
	if cfg.Drift > 0 {
		m.drift = time.Duration(dice.Int64N(2*int64(cfg.Drift)+1)) - cfg.Drift
	}
	m.luck = rand.New(rand.NewPCG(cfg.Seed, uint64(n)+1))
	return m, nil
}

// share spreads a share evenly over the meters: of any first n, n×share have it.
func share(n int, part float64) bool { return int(float64(n)*part+1e-9) > int(float64(n-1)*part+1e-9) }

// Meters are all meters, in the order of their numbers.
func (s *Station) Meters() []*Meter { return s.meters }

// Now is the time in the area.
func (s *Station) Now() time.Time { return s.cfg.Now() }

// Dead tells whether a meter is dead now.
func (s *Station) Dead(m *Meter) bool {
	since := s.cfg.Now().Sub(s.start)
	for _, o := range s.cfg.Dead {
		if m.Number >= o.First && m.Number <= o.Last && since >= o.From && (o.To == 0 || since < o.To) {
			return true
		}
	}
	return false
}

// Close ends everything that is under way, and waits for it.
func (s *Station) Close() {
	s.mu.Lock()
	s.closed = true
	l := s.line
	s.mu.Unlock()
	s.cancel()
	if l != nil {
		l.conn.Close()
	}
	s.jobs.Wait()
}

// begin runs something that Close waits for.
func (s *Station) begin(job func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.jobs.Go(job)
	}
}

// sleep waits, unless the area is closed.
func (s *Station) sleep(d time.Duration) bool {
	if d <= 0 {
		return s.ctx.Err() == nil
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// Restart is what a loss of power does to a CCO: what it was reading is
// forgotten, it routes again, and reports that it has started. Its archive stays.
func (s *Station) Restart() {
	s.mu.Lock()
	s.run++
	run := s.run
	clear(s.busy)
	clear(s.done)
	s.next, s.routing = 0, true
	s.status.Restarts++
	s.mu.Unlock()
	s.begin(func() {
		if !s.sleep(s.cfg.Boot) {
			return
		}
		s.mu.Lock()
		l, same := s.line, run == s.run
		s.mu.Unlock()
		if l != nil && same {
			s.reportMode(l)
		}
	})
}
