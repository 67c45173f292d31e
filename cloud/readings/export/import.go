package export

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"gnomon/cloud/readings"
	"gnomon/schema/reading"
	"gnomon/shadow/wire"
)

const (
	maxLine = 4 << 10 // bytes of a line of JSON
	most    = 2000    // rows that are held, and then written
)

// told is what values have in common that came together.
type told struct {
	node, policy    string
	source          reading.Source
	version         uint64
	arrived, stored int64
}

// spot is a row.
type spot struct {
	told
	meter string
	at    int64
}

// Import reads what NDJSON has written into a store, where what is there already
// stays. It ends at the first line that is wrong and names it; what came before is
// in the store. It returns how many values it has read.
func Import(ctx context.Context, r io.Reader, to readings.Sink) (int, error) {
	in := &incoming{to: to, rows: make(map[spot]map[string]reading.Value), answers: make(chan error, most)}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, maxLine), maxLine)
	n := 0
	for ; lines.Scan(); n++ {
		if err := in.line(ctx, lines.Bytes()); err != nil {
			return n, errors.Join(fmt.Errorf("line %d: %w", n+1, err), in.flush(ctx))
		}
	}
	if err := lines.Err(); err != nil {
		return n, errors.Join(fmt.Errorf("line %d: %w", n+1, err), in.flush(ctx))
	}
	return n, in.flush(ctx)
}

// incoming is what has been read and not written.
type incoming struct {
	to      readings.Sink
	rows    map[spot]map[string]reading.Value
	order   []spot
	answers chan error
}

func (in *incoming) line(ctx context.Context, text []byte) error {
	var e entry
	if err := json.Unmarshal(text, &e); err != nil {
		return err
	}
	var source reading.Source
	if err := source.UnmarshalText([]byte(e.Source)); err != nil {
		return err
	}
	if !wire.ValidThing(e.Node) {
		return fmt.Errorf("node %.40q is no name of one", e.Node)
	}
	var times [3]int64
	for i, text := range []string{e.At, e.Arrived, e.Stored} {
		at, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return err
		}
		times[i] = at.UnixMilli()
	}
	v := reading.Value{State: reading.Missing, Reason: e.Missing}
	if e.Value != nil {
		v = reading.Value{State: reading.Good, Number: *e.Value}
	}
	of := spot{told{e.Node, e.Policy, source, e.Version, times[1], times[2]}, e.Meter, times[0]}
	one := reading.Batch{Policy: e.Policy, Version: e.Version, Items: []string{e.Item}, Rows: []reading.Row{of.row([]reading.Value{v})}}
	if err := one.Check(); err != nil {
		return err
	}
	if in.rows[of] == nil {
		if len(in.order) == most {
			if err := in.flush(ctx); err != nil {
				return err
			}
		}
		in.rows[of] = make(map[string]reading.Value)
		in.order = append(in.order, of)
	}
	in.rows[of][e.Item] = v
	return nil
}

func (s spot) row(values []reading.Value) reading.Row {
	return reading.Row{Meter: s.meter, At: time.UnixMilli(s.at).UTC(), Arrived: time.UnixMilli(s.arrived).UTC(), Source: s.source, Values: values}
}

// flush writes what is held, each row by itself, since each was stored at a time of
// its own, and waits until it is on disk.
func (in *incoming) flush(ctx context.Context) error {
	var all error
	waiting := 0
	for _, of := range in.order {
		b := &reading.Batch{Policy: of.policy, Version: of.version}
		for item := range in.rows[of] {
			b.Items = append(b.Items, item)
		}
		slices.Sort(b.Items)
		values := make([]reading.Value, len(b.Items))
		for i, item := range b.Items {
			values[i] = in.rows[of][item]
		}
		b.Rows = []reading.Row{of.row(values)}
		t := readings.Told{Node: of.node, Batch: b, Stored: time.UnixMilli(of.stored).UTC()}
		if err := in.to.Submit(ctx, t, func(err error) { in.answers <- err }); err != nil {
			all = errors.Join(all, err)
			break
		}
		waiting++
	}
	for range waiting {
		all = errors.Join(all, <-in.answers)
	}
	in.order = in.order[:0]
	clear(in.rows)
	return all
}
