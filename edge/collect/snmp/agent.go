package snmp

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/gosnmp/gosnmp"

	"gnomon/edge/collect"
	"gnomon/edge/collect/credentials"
	"gnomon/edge/collect/medium"
	"gnomon/schema"
)

// agent is what is known of one agent. It is asked one thing at a time.
type agent struct {
	medium.Turn // whoever has it may use what follows
	medium.Absence
	most  int                // objects in one request that it can answer; 0 = any
	lacks map[string]refusal // objects that it doesn't have

	user   *gosnmp.UsmSecurityParameters // of version 3, with what was learnt of the agent's engine
	of     credentials.Credentials       // that user is made of
	engine string                        // whose objects are asked for
}

func newAgent() *agent { return &agent{lacks: make(map[string]refusal)} }

// refusal is remembered for a while, so that an object that isn't there doesn't
// cost a request in every cycle.
type refusal struct {
	err  error
	till time.Time
}

const (
	lacksFor = 10 * time.Minute
	maxLacks = 2 * schema.MaxItems
)

// Refusal is an agent's answer that it doesn't give what it was asked for (RFC
// 3416, 3).
type Refusal struct{ Status gosnmp.SNMPError }

func (e *Refusal) Error() string { return "status " + strings.ToLower(e.Status.String()) }

// Unwrap makes it a collect.ErrException.
func (e *Refusal) Unwrap() error { return collect.ErrException }

// read asks for the objects of items, as many as go into a request at once, and
// returns the first thing that went wrong with the agent as a whole.
func (a *agent) read(s *session, items []schema.Item, values map[string]collect.Value) error {
	var work [][]string
	for group := range slices.Chunk(a.wanted(items), a.limit(s.MaxOids)) {
		work = append(work, group)
	}
	got := make(map[string]answer)
	var failed error
	for len(work) > 0 {
		group := work[0]
		work = work[1:]
		again, err := a.ask(s, group, got)
		work = append(again, work...)
		if failed == nil {
			failed = err
		}
		if err != nil && !errors.Is(err, collect.ErrException) {
			break // the rest would fare no better
		}
	}
	a.engine = s.ContextEngineID
	for _, it := range items {
		found, ok := got[it.OID]
		switch {
		case !ok:
			found = answer{err: failed, at: time.Now()}
		case found.err == nil:
			var v collect.Value
			v.Value, v.Err = decode(found.variable, it)
			v.At = found.at
			values[it.Name] = v
			continue
		}
		values[it.Name] = collect.Value{At: found.at, Err: found.err}
	}
	return failed
}

// answer is what became of an object.
type answer struct {
	variable gosnmp.SnmpPDU
	err      error
	at       time.Time
}

// wanted are the objects of items, each once.
func (a *agent) wanted(items []schema.Item) []string {
	seen := make(map[string]bool)
	var oids []string
	for _, it := range items {
		if !seen[it.OID] {
			seen[it.OID] = true
			oids = append(oids, it.OID)
		}
	}
	return oids
}

func (a *agent) limit(most int) int {
	if a.most > 0 {
		most = min(most, a.most)
	}
	return max(most, 1)
}

// ask asks for a group. What has to be asked in other groups is returned.
func (a *agent) ask(s *session, group []string, got map[string]answer) (again [][]string, err error) {
	now := time.Now()
	group = slices.DeleteFunc(slices.Clone(group), func(oid string) bool {
		r, lacking := a.lacks[oid]
		if lacking && now.Before(r.till) {
			got[oid] = answer{err: r.err, at: now}
			return true
		}
		delete(a.lacks, oid)
		return false
	})
	if len(group) == 0 {
		return nil, nil
	}
	packet, err := s.Get(group)
	if err = s.classify(err); err != nil {
		return nil, err
	}
	switch packet.Error {
	case gosnmp.NoError:
		return nil, take(packet, group, got)
	case gosnmp.TooBig:
		if n := len(group); n > 1 {
			a.most = n / 2
			return [][]string{group[:n/2], group[n/2:]}, nil
		}
	}
	return a.refused(packet, group, got)
}

// refused takes out of a group what the agent has refused, so that the rest can be
// asked again; if it doesn't say what, each is asked alone.
func (a *agent) refused(packet *gosnmp.SnmpPacket, group []string, got map[string]answer) (again [][]string, err error) {
	why := &Refusal{packet.Error}
	at := int(packet.ErrorIndex) - 1
	if len(group) == 1 {
		at = 0
	}
	if at < 0 || at >= len(group) {
		for _, oid := range group {
			again = append(again, []string{oid})
		}
		return again, nil
	}
	got[group[at]] = answer{err: why, at: time.Now()}
	if packet.Error == gosnmp.NoSuchName {
		if len(a.lacks) >= maxLacks {
			clear(a.lacks)
		}
		a.lacks[group[at]] = refusal{why, time.Now().Add(lacksFor)}
	}
	if rest := slices.Delete(slices.Clone(group), at, at+1); len(rest) > 0 {
		again = [][]string{rest}
	}
	return again, nil
}

// take makes sure that an answer is of what was asked, and nothing else.
func take(packet *gosnmp.SnmpPacket, group []string, got map[string]answer) error {
	at := time.Now()
	of := make(map[string]gosnmp.SnmpPDU, len(packet.Variables))
	for _, v := range packet.Variables {
		of[strings.TrimPrefix(v.Name, ".")] = v
	}
	if packet.PDUType != gosnmp.GetResponse || len(packet.Variables) != len(group) || len(of) != len(group) {
		return fmt.Errorf("%w: %d objects asked, %d answered", collect.ErrGarbled, len(group), len(of))
	}
	for _, oid := range group {
		if _, ok := of[oid]; !ok {
			return fmt.Errorf("%w: %s was asked and not answered", collect.ErrGarbled, oid)
		}
	}
	for oid, v := range of {
		got[oid] = answer{variable: v, at: at}
	}
	return nil
}
