package node

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"gnomon/schema"
	"gnomon/shadow"
	"gnomon/shadow/wire"
	"gnomon/simulator/mqtt"
)

// rejectedPause is how long a node waits after a refusal before it asks what is
// wanted of it, so that a persistent refusal costs little.
const rejectedPause = time.Second

// question is a sync in flight: its token and what was stated in it.
type question struct {
	token string
	held  map[string]statement
}

// statement is what a sync said of one shadow. An answer counts for what still
// is as stated; the rest changed since and is left to the next sync.
type statement struct {
	desiredVersion uint64
	acked          *shadow.Value
	flight         *flight
}

// sync states what this node holds, unless an answer is due anyway; n.mu is held.
func (n *Node) sync() error {
	if n.conn == nil || n.asked != nil {
		return nil
	}
	q := &question{token: n.token(), held: make(map[string]statement, len(n.replicas))}
	req := wire.SyncRequest{BootEpoch: n.cfg.BootEpoch, Shadows: make(map[string]wire.SyncState, len(n.replicas)), ClientToken: q.token}
	for name, r := range n.replicas {
		q.held[name] = statement{r.desiredVersion, r.acked, r.flight}
		req.Shadows[name] = wire.SyncState{Desired: r.desiredVersion, Reported: shadow.Digest(r.acked)}
	}
	topic := n.topic
	topic.Op = wire.OpSync
	_, err := n.conn.Publish(topic.Request(), req.Append(nil), 1)
	if errors.Is(err, mqtt.ErrQuota) {
		n.syncAfter(rejectedPause)
		return nil
	}
	n.asked = q
	n.syncAfter(n.cfg.Timeout)
	return err
}

// jittered spreads d by ±20 %.
func (n *Node) jittered(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(n.random.Int64N(int64(d*2/5)+1))
}

// syncAfter sets when the next sync goes out if nothing leads to one before. If
// the last one is still unanswered then, the connection counts as lost: it may
// live as a connection and reach nobody.
func (n *Node) syncAfter(d time.Duration) {
	if n.resync != nil {
		n.resync.Stop()
	}
	conn := n.conn
	n.resync = time.AfterFunc(d, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		if n.ended || n.conn == nil || n.conn != conn {
			return
		}
		if n.asked != nil {
			n.Counters.Unanswered.Add(1)
			n.problem = fmt.Errorf("sync unanswered within %s", n.cfg.Timeout)
			_ = conn.Close() // its reader finds out and reconnects
			return
		}
		if err := n.sync(); err != nil {
			_ = conn.Close()
		}
	})
}

// answered takes over what the cloud says differs; n.mu is held.
func (n *Node) answered(payload []byte) error {
	reply, err := wire.ParseSyncReply(payload)
	if err != nil {
		return err
	}
	q := n.asked
	if q == nil || q.token != reply.ClientToken {
		return nil
	}
	n.asked, n.synced = nil, true
	n.Counters.Syncs.Add(1)
	n.syncAfter(n.jittered(n.cfg.SyncInterval))
	for name, r := range n.replicas {
		if stated, ok := q.held[name]; ok && r.flight == stated.flight {
			// What was in flight when the sync went out has met its fate by now:
			// either it shows as a difference, or it was lost.
			r.flight = nil
		}
		r.held = false
	}
	for name, diff := range reply.Shadows {
		if err := n.differs(name, diff, q); err != nil {
			return err
		}
	}
	if reply.More {
		if err := n.sync(); err != nil {
			return err
		}
	}
	return n.flush()
}

func (n *Node) differs(name string, diff wire.SyncShadow, q *question) error {
	r := n.replicas[name]
	stated := q.held[name]
	if r == nil {
		r = new(replica)
	}
	if diff.Deleted {
		if r.desiredVersion == stated.desiredVersion || diff.Version > r.desiredVersion {
			n.drop(name)
		}
		return nil
	}
	if diff.ReportFull && r.acked == stated.acked {
		r.full = true
	}
	if diff.Current || r.desiredVersion != stated.desiredVersion && diff.DesiredVersion <= r.desiredVersion {
		return nil
	}
	desired, err := parse(diff.Desired)
	if err != nil {
		return fmt.Errorf("desired of %q: %w", name, err)
	}
	n.take(name, desired, diff.DesiredVersion)
	return nil
}

// typed reports whether a node acts on a shadow of this name.
func typed(name string) bool {
	return name == "" || strings.HasPrefix(name, schema.AppPrefix) || strings.HasPrefix(name, schema.PolicyPrefix)
}
