package twin

import (
	"cmp"
	"context"
	"slices"

	"gnomon/cloud/identity"
	"gnomon/cloud/store"
	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
)

// Sync answers what of a node's shadows differs from what the node holds. It
// changes nothing. A reply that would grow beyond wire.MaxSyncBytes is cut, and
// says so; what the node holds comes before what it doesn't.
func (s *Service) Sync(ctx context.Context, p identity.Principal, thing string, r *wire.SyncRequest) (*wire.SyncReply, error) {
	if err := authorize(p, actionRead, thing); err != nil {
		return nil, err
	}
	prefixes := []string{schema.AppPrefix, schema.PolicyPrefix}
	if r.All {
		prefixes = []string{""}
	}
	held, err := s.shadowsOf(ctx, p, thing, prefixes)
	if err != nil {
		return nil, err
	}
	for name := range r.Shadows {
		if _, ok := held[name]; !ok {
			if held[name], err = s.peek(ctx, store.Key{Thing: thing, Shadow: name}); err != nil {
				return nil, err
			}
		}
	}
	reply := &wire.SyncReply{
		BootEpoch: newestEpoch(r.BootEpoch, held), Timestamp: s.now(), ClientToken: r.ClientToken,
		Shadows: make(map[string]wire.SyncShadow),
	}
	names := make([]string, 0, len(held))
	for name := range held {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		_, ofA := r.Shadows[a]
		_, ofB := r.Shadows[b]
		switch {
		case ofA && !ofB:
			return -1
		case ofB && !ofA:
			return 1
		}
		return cmp.Compare(a, b)
	})
	size := 0
	for _, name := range names {
		state, listed := r.Shadows[name]
		diff, differs := syncShadow(name, held[name], state, listed)
		if !differs {
			continue
		}
		if r.All && !listed {
			diff.Desired = nil // who didn't know of it asks for all of it
		} else if !diff.Current {
			diff.Trace = s.cfg.Traces.TraceOf(store.Key{Thing: thing, Shadow: name}, diff.DesiredVersion)
		}
		if size += len(diff.Desired) + len(name) + 160; size > wire.MaxSyncBytes && len(reply.Shadows) > 0 {
			reply.More = true
			break
		}
		reply.Shadows[name] = diff
	}
	return reply, nil
}

// newestEpoch is the highest boot epoch that the cloud has seen of a node. A node
// that lost its disk begins to count anew, and learns from it where to go on:
// until it does, its reports are taken for old ones.
func newestEpoch(own uint64, held map[string]*shadow.Document) uint64 {
	for _, d := range held {
		if d != nil {
			own = max(own, d.Origin.BootEpoch)
		}
	}
	return own
}

// shadowsOf returns a thing's classic shadow and the named ones with one of the
// prefixes: those that concern a node are its applications and its policies.
func (s *Service) shadowsOf(ctx context.Context, p identity.Principal, thing string, prefixes []string) (map[string]*shadow.Document, error) {
	held := make(map[string]*shadow.Document)
	classic, err := s.peek(ctx, store.Key{Thing: thing})
	if err != nil {
		return nil, err
	}
	if classic.Exists() {
		held[""] = classic
	}
	for _, prefix := range prefixes {
		page := Page{Prefix: prefix, Limit: scanChunk}
		for {
			list, next, err := s.Shadows(ctx, p, thing, page)
			if err != nil {
				return nil, err
			}
			for _, e := range list {
				held[e.Key.Shadow] = e.Document
			}
			if next == "" {
				break
			}
			page.After = next
		}
	}
	return held, nil
}

// syncShadow compares one shadow with what a node holds of it.
func syncShadow(name string, d *shadow.Document, state wire.SyncState, listed bool) (out wire.SyncShadow, differs bool) {
	if !d.Exists() {
		if name == "" { // a node's own: it makes it again by reporting
			return wire.SyncShadow{ReportFull: true, Current: state.Desired == 0}, listed && (state.Reported != "" || state.Desired != 0)
		}
		if d != nil {
			out.Version, out.DesiredVersion = d.Version, d.DesiredVersion
		}
		out.Deleted = true
		return out, listed
	}
	out = wire.SyncShadow{Version: d.Version, DesiredVersion: d.DesiredVersion}
	out.Current = state.Desired == d.DesiredVersion
	if !out.Current && d.Desired != nil {
		out.Desired = d.Desired.AppendJSON(nil)
	}
	out.ReportFull = state.Reported != shadow.Digest(d.Reported)
	return out, !out.Current || out.ReportFull
}
