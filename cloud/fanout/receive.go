package fanout

import "time"

// ears is the Receiver of a Fanout.
type ears struct{ f *Fanout }

func (e ears) Take(channel int, frame []byte)  { e.f.take(channel, frame) }
func (e ears) Stand(channels []int, err error) { e.f.stand(channels, err) }

// take deals with a frame that arrived.
func (f *Fanout) take(channel int, b []byte) {
	fr, err := parseFrame(b)
	if err != nil || channel < 0 || channel >= Channels {
		f.cfg.Log.Warn("fan-out: a frame is malformed", "channel", channel, "bytes", len(b))
		return
	}
	if f.gap(channel, fr) {
		f.miss()
	}
	for _, e := range fr.entries {
		switch {
		case e.kind == kindEnd:
			f.forget(fr.from)
		case e.kind == kindConnected:
			if f.heard(fr.from == f.self, string(e.body)) {
				f.takeOver(string(e.body))
				f.words.Elsewhere(string(e.body))
			}
		case fr.from == f.self:
		case e.kind == kindWord:
			if err := f.words.Hear(e.body); err != nil {
				f.cfg.Log.Warn("fan-out: a word can't be understood", "error", err)
			}
		case e.kind == kindNotice:
			f.metrics.received.Inc()
			if err := f.local.Deliver(e.body); err != nil {
				f.cfg.Log.Warn("fan-out: a notice can't be delivered", "error", err)
			}
		}
	}
}

// gap tells whether frames before this one are missing. Of a sender not heard of
// before nothing is.
func (f *Fanout) gap(channel int, fr *frame) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	numbers := f.numbers[channel]
	last, known := numbers[fr.from]
	if len(numbers) >= maxOrigins && !known {
		clear(numbers)
	}
	numbers[fr.from] = fr.number
	if fr.from != f.self && (len(f.alive) < maxOrigins || !f.alive[fr.from].IsZero()) {
		f.alive[fr.from] = time.Now()
	}
	missing := known && fr.number != last+1
	return missing && fr.from != f.self
}

// heard tells whether word of a client means that its session here is over.
func (f *Fanout) heard(own bool, clientID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := f.claims[clientID]
	if !own {
		return n == 0
	}
	if n <= 1 {
		delete(f.claims, clientID)
	} else {
		f.claims[clientID] = n - 1
	}
	return false
}

// forget lets go of a sender that has said that it ends.
func (f *Fanout) forget(from origin) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.alive, from)
}

// silences is how many heartbeats a sender may leave out before it is taken for
// dead.
const silences = 3

// bury looks for senders that have fallen silent without a word. What such a one
// committed last it may not have told anybody.
func (f *Fanout) bury() {
	f.mu.Lock()
	dead := 0
	for from, heard := range f.alive {
		if time.Since(heard) > silences*f.cfg.Heartbeat {
			delete(f.alive, from)
			dead++
		}
	}
	f.mu.Unlock()
	if dead > 0 {
		f.cfg.Log.Info("fan-out: other replicas have fallen silent", "replicas", dead)
		f.miss()
	}
}

// lost is called when frames of a channel may have been lost. Among them could
// be our own word of clients, which then isn't waited for any longer.
func (f *Fanout) lost() {
	f.mu.Lock()
	clear(f.claims)
	f.mu.Unlock()
	f.miss()
}

func (f *Fanout) miss() {
	f.metrics.missed.Inc()
	f.local.MissedNotices()
	f.words.MissedWords()
}
