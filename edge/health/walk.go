package health

import (
	"context"
	"slices"
	"time"

	"gnomon/edge/health/usage"
)

// share is what part of the time walking over files may take in the long run:
// where there are many, it is done less often than is asked for.
const share = 1000

// longestPause bounds that.
const longestPause = time.Hour

// walkAll looks at what applications have on disk, one after the other, at the
// interval that is asked for, and soon at one that is new.
func (m *Monitor) walkAll(ctx context.Context) error {
	w := new(usage.Walker)
	return m.recur(ctx, m.walk, func() (time.Duration, error) {
		before := w.Busy()
		if err := m.Walk(ctx, w); err != nil {
			return 0, err
		}
		busy := w.Busy() - before
		return max(m.diskInterval(), min(busy*share, longestPause)), nil
	})
}

func (m *Monitor) diskInterval() time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wanted == nil {
		return soon
	}
	return m.wanted.Node.Sampling.Disk.D()
}

// Walk looks at all applications once. The error is that of ctx.
func (m *Monitor) Walk(ctx context.Context, w *usage.Walker) error {
	names := m.onDisk()
	for _, name := range names {
		f, err := m.footprint(ctx, w, name)
		if err != nil {
			return err
		}
		m.mu.Lock()
		m.disks[name] = f
		m.judge()
		m.mu.Unlock()
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for name := range m.disks {
		if !slices.Contains(names, name) {
			delete(m.disks, name)
		}
	}
	return nil
}

// onDisk lists the applications that may have something on disk.
func (m *Monitor) onDisk() (names []string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.wanted == nil {
		return nil
	}
	for i := range m.wanted.Apps {
		names = append(names, m.wanted.Apps[i].Name)
	}
	return names
}

func (m *Monitor) footprint(ctx context.Context, w *usage.Walker, name string) (*usage.Footprint, error) {
	f := new(usage.Footprint)
	data, layers, logs := m.cfg.Workloads.Footprint(name)
	for _, part := range []struct {
		paths []string
		bytes *int64
	}{{data, &f.Data}, {layers, &f.Layers}, {logs, &f.Logs}} {
		for _, path := range part.paths {
			n, partial, err := w.Measure(ctx, path)
			if err != nil {
				return nil, err
			}
			*part.bytes += n
			f.Partial = f.Partial || partial
		}
	}
	f.At = m.cfg.Now()
	return f, nil
}
