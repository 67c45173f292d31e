package trace

import (
	"github.com/tidwall/gjson"

	"gnomon/cloud/store"
	"gnomon/shadow/wire"
)

// maxBehind bounds how far a delta that is acknowledged may be behind: no client
// has more messages outstanding.
const maxBehind = 64

// Expects tells whether an acknowledgement may be of a change that is remembered.
func (l *Log) Expects() bool { return l.undelivered.Load() > 0 || l.open.Load() > 0 }

// Acknowledged tells that a client acknowledged a message. That of a node's own
// client comes when what it says is on the node's disk.
func (l *Log) Acknowledged(client, topic string, payload []byte) {
	t, leaf, ok := wire.ParseReply(topic)
	if !ok {
		return
	}
	key := store.Key{Thing: t.Thing, Shadow: t.Shadow}
	own := client == t.Thing
	switch leaf {
	case "desired":
		l.acknowledged(key, gjson.GetBytes(payload, "version").Uint(), delivery{client: client, persisted: own})
	case "update/delta":
		l.acknowledged(key, gjson.GetBytes(payload, "version").Uint(), delivery{client: client, delta: true})
	case "sync/accepted":
		if own {
			l.synced(t.Thing, payload)
		}
	}
}

// delivery is one acknowledgement.
type delivery struct {
	client    string
	persisted bool // by the node itself
	again     bool // of what it said it hadn't got
	delta     bool // which is there also after a report: of the last change before it
}

func (l *Log) synced(thing string, payload []byte) {
	reply, err := wire.ParseSyncReply(payload)
	if err != nil {
		return // it is ours
	}
	for name, s := range reply.Shadows {
		version := s.DesiredVersion
		if s.Deleted {
			version = s.Version
		}
		if !s.Current {
			l.acknowledged(store.Key{Thing: thing, Shadow: name}, version, delivery{client: thing, persisted: true, again: true})
		}
	}
}

func (l *Log) acknowledged(key store.Key, version uint64, d delivery) {
	now := l.cfg.Now()
	l.mu.Lock()
	c := l.versions[id{key, version}]
	if c == nil && d.delta {
		c = l.latest[key]
		for range maxBehind {
			if c == nil || c.Version <= version {
				break
			}
			c = c.older
		}
		if c != nil && c.Version > version {
			c = nil
		}
	}
	taken := c != nil && l.deliver(c, d.client, d.persisted, d.again, now)
	if taken {
		version = c.Version
	}
	l.mu.Unlock()
	if taken {
		l.tell(word{kind: wordDelivered, thing: key.Thing, shadow: key.Shadow, version: version, client: d.client, persisted: d.persisted, again: d.again, at: now})
	}
}
