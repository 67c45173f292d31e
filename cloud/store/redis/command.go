package redis

import (
	"context"
	"strings"

	goredis "github.com/redis/go-redis/v9"

	"gnomon/cloud/store"
)

// command is one call of a script and the changes it is for.
type command struct {
	*goredis.Cmd
	script  *script
	keys    []string
	args    []any
	changes []*change
	bytes   int
}

// NoRetry implements goredis.Cmder: only the committer may repeat a script,
// because only it keeps account of which may have run. Redirections are followed,
// since a server that redirects has run nothing.
func (*command) NoRetry() bool { return true }

// send gives the command its form for one try. By its text a script is known to
// every server, by its hash to those that were told the text.
func (c *command) send(ctx context.Context, pipe goredis.Pipeliner, text bool) {
	verb, script := "evalsha", c.script.hash
	if text {
		verb, script = "eval", c.script.text
	}
	args := make([]any, 0, 3+len(c.keys)+len(c.args))
	args = append(args, verb, script, len(c.keys))
	for _, k := range c.keys {
		args = append(args, k)
	}
	c.Cmd = goredis.NewCmd(ctx, append(args, c.args...)...)
	c.SetFirstKeyPos(3)
	_ = pipe.Process(ctx, c) // nothing is sent yet
}

// Bounds of one call of plainScript: the server does nothing else meanwhile.
const (
	batchRecords = 64
	batchBytes   = 128 << 10
)

// plan makes commands of changes, so that those of one thing stay in order: a
// change joins an earlier call only if no other of its thing came since.
func (s *Store) plan(group []*change) (all []*command) {
	var open *command
	var other map[string]bool // things with a command after open
	for _, c := range group {
		if !c.plain() {
			all = append(all, whole(c))
			if open != nil {
				if other == nil {
					other = make(map[string]bool)
				}
				other[c.thing] = true
			}
			continue
		}
		if open == nil || len(open.changes) >= s.batch || open.bytes >= batchBytes || other[c.thing] {
			open = &command{script: plainScript}
			all = append(all, open)
			clear(other)
		}
		r := &c.records[0]
		open.keys = append(open.keys, r.name)
		open.args = append(open.args, baseArg(r.base), r.value)
		open.changes = append(open.changes, c)
		open.bytes += len(r.value)
	}
	return all
}

// whole is the call of commitScript for a change.
func whole(c *change) *command {
	n := &command{script: commitScript, changes: []*change{c}}
	n.keys = make([]string, 0, len(c.records)+1)
	n.args = append(make([]any, 0, 3*len(c.records)+1), c.token)
	fresh := false
	for i := range c.records {
		r := &c.records[i]
		n.keys = append(n.keys, r.name)
		n.args = append(n.args, baseArg(r.base), r.value, r.key.Shadow)
		fresh = fresh || r.base <= store.None && r.sum != store.None
	}
	if fresh { // a key less is one that can't lie elsewhere while the slot moves
		n.keys = append(n.keys, c.names)
	}
	return n
}

// wholes makes a call of commitScript of every change.
func wholes(group []*change) []*command {
	all := make([]*command, len(group))
	for i, c := range group {
		all[i] = whole(c)
	}
	return all
}

// perform runs commands in one pipeline and notes what became of each change.
func (s *Store) perform(ctx context.Context, all []*command) {
	s.exchange(ctx, all, false)
	var missing []*command
	for _, c := range all {
		if err := c.Err(); err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") {
			missing = append(missing, c)
		}
	}
	if len(missing) > 0 { // a server that was started since, or is new
		s.exchange(ctx, missing, true)
	}
	for _, c := range all {
		c.note()
	}
}

func (s *Store) exchange(ctx context.Context, all []*command, text bool) {
	pipe := s.commits.Pipeline()
	for _, c := range all {
		c.send(ctx, pipe, text)
	}
	_, _ = pipe.Exec(ctx) // every command has its own
}

// note tells the changes of a command what the server answered.
func (c *command) note() {
	err := c.Err()
	var left []any
	var answer int64
	if err == nil && c.script == plainScript {
		left, err = c.Slice()
	} else if err == nil {
		answer, err = c.Int64()
	}
	next := 0
	for i, of := range c.changes {
		of.outcome, of.err = wrote, err
		switch {
		case err != nil:
			of.outcome = failed
		case c.script == commitScript && answer == answerConflict:
			of.outcome = conflict
		case next < len(left) && left[next] == int64(i+1):
			of.outcome = untried
			next++
		}
	}
}
