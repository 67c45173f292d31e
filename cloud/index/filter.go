package index

import (
	"time"
	"unique"

	"gnomon/cloud/store"
	"gnomon/schema"
)

// Filter tells whether a change of a shadow is selected. Phase and convergence
// are those of the change, the rest is what the index has by now; of what was
// deleted only its names and its node remain.
type Filter func(key store.Key, phase string, converged bool) bool

// Filter makes a filter for changes. A selector that no change can be asked, as
// it needs documents or the passing of time, is refused.
func (ix *Index) Filter(s Selector) (Filter, error) {
	for _, r := range s {
		switch r.Field {
		case Desired, Reported:
			return nil, &SelectorError{Position: 1, Field: string(r.Field) + "." + r.Name, Message: "changes can't be selected by what documents hold", Allowed: "indexed keys"}
		case PendingFor:
			return nil, &SelectorError{Position: 1, Field: string(r.Field), Message: "changes can't be selected by pendingFor, which grows without any", Allowed: "converged=false"}
		}
	}
	if err := ix.Ready(); err != nil {
		return nil, err
	}
	m := compile(s, time.Time{})
	return func(key store.Key, phase string, converged bool) bool {
		ix.drain()
		ix.mu.RLock()
		defer ix.mu.RUnlock()
		b, i, found := ix.rows.find(key)
		r := row{thing: ix.rows.thingAt(b, i, key.Thing), shadow: unique.Make(key.Shadow), component: none, fault: none}
		if found {
			r = ix.rows.blocks[b][i]
		} else {
			r.kind = kindOf(key.Shadow, r.thing.node)
		}
		r.phase, r.converged = intern(phase, r.phase), converged
		return m.row(&r)
	}, nil
}

// kindOf is the kind of a shadow by its name; isNode is about a classic one.
func kindOf(shadowName string, isNode bool) kind {
	switch k, _ := schema.KindOf(shadowName); {
	case k == schema.KindApplication:
		return application
	case k == schema.KindPolicy:
		return policy
	case k == schema.KindNode && isNode:
		return node
	}
	return free
}
