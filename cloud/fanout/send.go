package fanout

import (
	"context"
	"time"
)

// sender is the state of the goroutine that sends.
type sender struct {
	number [Channels]uint64 // of the last frame
	active [Channels]bool   // something was sent since the last heartbeat
	batch  map[int][]entry
	bytes  int
}

func (f *Fanout) send(ctx context.Context) {
	s := &sender{batch: make(map[int][]entry)}
	tick := time.NewTicker(f.cfg.Heartbeat)
	defer tick.Stop()
	for {
		select {
		case i := <-f.queue:
			f.add(s, i)
			f.collect(s)
			f.flush(ctx, s)
		case <-tick.C:
			f.beat(s)
			f.flush(ctx, s)
			f.bury()
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			for f.collect(s); len(s.batch) > 0; f.collect(s) {
				f.flush(last, s)
			}
			for c := range Channels { // whichever arrives last
				s.batch[c] = []entry{{kind: kindEnd}}
			}
			f.flush(last, s)
			return
		}
	}
}

func (f *Fanout) add(s *sender, i item) {
	f.queued.Add(-int64(len(i.entry.body)))
	s.batch[i.channel] = append(s.batch[i.channel], i.entry)
	s.bytes += len(i.entry.body)
}

// collect adds what is already waiting.
func (f *Fanout) collect(s *sender) {
	for s.bytes < maxBatch {
		select {
		case i := <-f.queue:
			f.add(s, i)
		default:
			return
		}
	}
}

// home is the channel over which a sender that has nothing to say shows that it
// is there.
func (f *Fanout) home() int { return int(f.self[0]) % Channels }

// beat prepares empty frames for home and for channels whose last could have been
// lost, and what couldn't be sent of clients.
func (f *Fanout) beat(s *sender) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s.batch[f.home()] = nil
	for c := range s.active {
		if s.active[c] {
			s.batch[c] = nil
		}
		s.active[c] = false
		for id := range f.unsent[c] {
			s.batch[c] = append(s.batch[c], entry{kindConnected, []byte(id)})
			delete(f.unsent[c], id)
		}
	}
}

func (f *Fanout) flush(ctx context.Context, s *sender) {
	frames := make(map[int][]byte, len(s.batch))
	for c, entries := range s.batch {
		if f.gaps[c].Swap(false) {
			s.number[c]++
		}
		s.number[c]++
		fr := frame{f.self, s.number[c], entries}
		frames[c] = fr.append(nil)
		s.active[c] = s.active[c] || len(entries) > 0
	}
	for c, err := range f.cfg.Transport.Send(ctx, frames) {
		f.metrics.failed.Inc()
		f.cfg.Log.Debug("fan-out failed", "channel", c, "error", err)
		s.active[c] = true
		for _, e := range s.batch[c] {
			if e.kind == kindConnected {
				f.keep(item{c, e})
			}
		}
	}
	clear(s.batch)
	s.bytes = 0
}
