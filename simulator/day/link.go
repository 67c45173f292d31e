package day

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"gnomon/edge/link"
	"gnomon/shadow/wire"
)

// uplink is the connection to the cloud: slow, lossy, and down for hours. What is
// lost on it is lost: an MQTT connection would break instead, which happens as well.
type uplink struct {
	cloud  *Cloud
	random *rand.Rand
	cuts   []outage
	nudged chan struct{}

	mu       sync.Mutex
	bytes    int // that went over it, either way, with what MQTT and TCP add
	messages int
	lost     int
	twice    int
}

type outage struct{ from, to time.Time }

const (
	upLoss    = 0.01 // of messages, either way
	upDoubled = 0.01
	delayMin  = 50 * time.Millisecond
	delayMax  = 500 * time.Millisecond
	perPacket = 20 + 20 + 12 // of IP and TCP with time stamps, and as much for what acknowledges it
	segment   = 1400
	mqtt      = 5 + 2 + 2 + 1 // fixed header, length of the topic, packet id, no properties
	puback    = 4
)

func newUplink(cloud *Cloud, seed uint64, cuts []outage) *uplink {
	return &uplink{cloud: cloud, random: rand.New(rand.NewPCG(seed, 3)), cuts: cuts, nudged: make(chan struct{}, 1)}
}

// nudge has the traffic asked for messages.
func (u *uplink) nudge() {
	select {
	case u.nudged <- struct{}{}:
	default:
	}
}

// up tells whether there is a connection, and when that changes.
func (u *uplink) up(now time.Time) (up bool, until time.Duration) {
	until = time.Hour
	for _, c := range u.cuts {
		if !now.Before(c.from) && now.Before(c.to) {
			return false, c.to.Sub(now)
		}
		if now.Before(c.from) {
			until = min(until, c.from.Sub(now))
		}
	}
	return true, until
}

// run carries what an agent has to say until ctx ends.
func (u *uplink) run(ctx context.Context, traffic link.Traffic) {
	var under sync.WaitGroup
	defer under.Wait()
	online := false
	for ctx.Err() == nil {
		up, until := u.up(time.Now())
		if up != online {
			online = up
			traffic.Online(up)
		}
		for m := traffic.Send(); m != nil && online; m = traffic.Send() {
			for range u.carry(wire.Readings{Thing: thing}.Batch(), m.Payload) {
				under.Go(func() { u.bring(ctx, m.Payload, traffic) })
			}
		}
		timer := time.NewTimer(until)
		select {
		case <-timer.C:
		case <-u.nudged:
		case <-ctx.Done():
		}
		timer.Stop()
	}
}

// carry counts a message, and says how often it arrives.
func (u *uplink) carry(topic string, payload []byte) (copies int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	size := mqtt + len(topic) + len(payload)
	packets := (size + segment - 1) / segment
	u.bytes += size + packets*2*perPacket + puback + 2*perPacket
	u.messages++
	switch r := u.random.Float64(); {
	case r < upLoss:
		u.lost++
		return 0
	case r < upLoss+upDoubled:
		u.twice++
		return 2
	}
	return 1
}

// bring takes a batch to the cloud and its verdict back.
func (u *uplink) bring(ctx context.Context, payload []byte, traffic link.Traffic) {
	if !u.wait(ctx) {
		return
	}
	verdict := u.cloud.tell(payload)
	for range u.carry(verdict.topic, verdict.payload) {
		if u.wait(ctx) {
			traffic.Receive(verdict.topic, verdict.payload)
		}
	}
}

// wait is the time that a message takes. It tells whether it arrives.
func (u *uplink) wait(ctx context.Context) bool {
	u.mu.Lock()
	d := delayMin + time.Duration(u.random.Int64N(int64(delayMax-delayMin)))
	u.mu.Unlock()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return false
	}
	up, _ := u.up(time.Now())
	return up
}
