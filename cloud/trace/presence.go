package trace

import (
	"time"

	"gnomon/shadow/wire"
)

// presence is which clients that are named like a thing are connected, or when
// they left. Of those beyond the limit nothing is known.
type presence struct {
	most    int
	clients map[string]presenceOf
}

type presenceOf struct {
	connected bool
	remote    bool // to another replica
	since     time.Time
}

func (p *presence) set(client string, of presenceOf) {
	if _, known := p.clients[client]; !known && len(p.clients) >= p.most {
		return
	}
	p.clients[client] = of
}

// Connected tells that a client has connected to this process.
func (l *Log) Connected(client string) {
	if l != nil && wire.ValidThing(client) {
		l.mu.Lock()
		l.presence.set(client, presenceOf{connected: true, since: l.cfg.Now()})
		l.mu.Unlock()
	}
}

// Elsewhere tells that a client has connected to another replica.
func (l *Log) Elsewhere(client string) {
	if l != nil && wire.ValidThing(client) {
		l.mu.Lock()
		l.presence.set(client, presenceOf{connected: true, remote: true, since: l.cfg.Now()})
		l.mu.Unlock()
	}
}

// Left tells that a client's connection to this process has ended. What is known
// of a later one to another replica stays.
func (l *Log) Left(client string) {
	if l == nil || !wire.ValidThing(client) {
		return
	}
	now := l.cfg.Now()
	l.mu.Lock()
	was := l.presence.clients[client]
	if !was.remote {
		l.presence.set(client, presenceOf{since: now})
	}
	l.mu.Unlock()
	if !was.remote {
		l.tell(word{kind: wordLeft, thing: client, client: client, at: now})
	}
}

func (l *Log) leftElsewhere(w word) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if was := l.presence.clients[w.client]; was.remote || !was.connected {
		l.presence.set(w.client, presenceOf{since: w.at})
	}
}
