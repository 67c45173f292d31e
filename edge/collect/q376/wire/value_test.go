package wire

import (
	"bytes"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func (u unit) decode(t *testing.T, v interface{ Decode([]byte) error }) {
	t.Helper()
	if err := v.Decode(u.data); err != nil {
		t.Fatalf("%s: %v", u.name, err)
	}
}

// named returns the nth unit of a name.
func named(t *testing.T, name string, n int) unit {
	t.Helper()
	for _, u := range units(t) {
		if u.name == name {
			if n == 0 {
				return u
			}
			n--
		}
	}
	t.Fatalf("no unit %s", name)
	return unit{}
}

func is[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestValues_OfReports(t *testing.T) {
	meter := address12(t, "000000000161")
	var c Confirm
	named(t, "00 F1 up", 0).decode(t, &c)
	is(t, "confirm", c, Confirm{Status: ConfirmDone.Status, Wait: 5})
	is(t, "done", c.Done() && !Confirm{Status: 2}.Done(), true)

	var r ReadReport
	named(t, "06 F2 up", 0).decode(t, &r)
	is(t, "index", r.Index, 5)
	is(t, "delay", r.Delay, 1)
	is(t, "meter", CheckMeter(r.Protocol, r.Content, meter), nil)

	w, err := DecodeWork(named(t, "06 F3 up", 0).data)
	is(t, "work", w, CollectionIdle)
	is(t, "work", err, nil)

	var e EventReport
	named(t, "06 F5 up", 1).decode(t, &e)
	p, err := e.Power()
	is(t, "power", err, nil)
	is(t, "nodes", p.Nodes.Len(), 2)
	is(t, "node", p.Nodes.At(1), address12(t, "000000000162"))
	is(t, "restored", p.Restored, false)
	named(t, "06 F5 up", 2).decode(t, &e)
	p, err = e.Power()
	is(t, "power", err, nil)
	is(t, "restored", p.Restored, true)
	is(t, "meters", len(p.Meters), 7)
	named(t, "06 F5 up", 0).decode(t, &e)
	if _, err := e.Power(); !errors.Is(err, ErrValue) {
		t.Error(err)
	}

	var task TaskReport
	named(t, "06 F230 up", 0).decode(t, &task)
	is(t, "task", task.Number, 7)
	is(t, "meter", task.Meter, meter)
	is(t, "time", task.At, Clock{2026, 6, 29, 10, 45, 0})
	is(t, "meter", CheckMeter(task.Protocol, task.Content, meter), nil)
}

func TestValues_OfRouting(t *testing.T) {
	meter, other := address12(t, "000000000161"), address12(t, "000000000162")
	var n Counts
	named(t, "10 F1 up", 0).decode(t, &n)
	is(t, "counts", n, Counts{300, 1015})
	var part Part
	named(t, "10 F2 down", 0).decode(t, &part)
	is(t, "part", part, Part{1, 10})
	var l NodeList
	named(t, "10 F2 up", 0).decode(t, &l)
	is(t, "total", l.Total, 300)
	is(t, "nodes", l.Nodes.Len(), 2)
	is(t, "node 0", l.Nodes.At(0), NodeState{Address: meter, RelayLevel: 1, Quality: 15, Phases: 1, Protocol: DLT645, MinuteCollection: true})
	is(t, "node 1", l.Nodes.At(1), NodeState{Address: other, Quality: 2, Phases: 4, Protocol: DLT698})

	nodes, err := DecodeNodes(named(t, "11 F1 down", 0).data)
	is(t, "nodes", err, nil)
	is(t, "nodes", nodes.Len(), 2)
	is(t, "node 1", nodes.At(1), Node{other, DLT698})
	gone, err := DecodeDelete(named(t, "11 F2 down", 0).data)
	is(t, "deleted", err, nil)
	is(t, "deleted", gone.At(0), meter)

	var m Monitor
	named(t, "13 F1 down", 0).decode(t, &m)
	is(t, "attached", m.SubNodes.At(0), other)
	is(t, "meter", CheckMeter(m.Protocol, m.Content, meter), nil)
	var reply MonitorReply
	named(t, "13 F1 up", 0).decode(t, &reply)
	is(t, "delay", reply.Delay, 2)
	is(t, "content", len(reply.Content), 20)

	var q ReadQuery
	named(t, "14 F1 up", 0).decode(t, &q)
	is(t, "query", q, ReadQuery{1, meter, 5})
	var a ReadAnswer
	named(t, "14 F1 down", 0).decode(t, &a)
	is(t, "verdict", a.Verdict, ReadThis)
	is(t, "content", len(a.Content), 16)
	now, err := DecodeClock(named(t, "14 F2 down", 0).data)
	is(t, "clock", err, nil)
	is(t, "clock", now, Clock{2026, 6, 29, 10, 45, 30})
	var d DelayQuery
	named(t, "14 F3 up", 0).decode(t, &d)
	is(t, "delay", d.Delay, 3)
	is(t, "meter", d.Meter, meter)
}

func TestValues_OfModule(t *testing.T) {
	var m RunMode
	named(t, "03 F10 up", 0).decode(t, &m)
	is(t, "routing", m.Routing(), true)
	is(t, "archive", m.WantsArchive(), true)
	is(t, "minute collection", m.MinuteCollection(), true)
	is(t, "timeout", m.MonitorTimeout, 90)
	is(t, "broadcast", m.BroadcastTimeout, 60)
	is(t, "frame", m.MaxFrame, 2048)
	is(t, "main node", m.MainNode.String(), "049999888888")
	is(t, "capacity", m.Capacity, 1015)
	is(t, "nodes", m.Nodes, 300)
	is(t, "vendor", m.Version.Vendor, [2]byte{'C', 'T'})
	is(t, "rates", len(m.Rates), 2)
}

func TestValues_OfTasks(t *testing.T) {
	var task Task
	u := named(t, "11 F231 down", 0)
	u.decode(t, &task)
	is(t, "task", task.Number, 7)
	is(t, "enable", task.Enable, true)
	is(t, "period", task.Period, 15)
	is(t, "items", task.Kinds[0].Items.Len(), 2)
	is(t, "item", task.Kinds[0].Items.At(1), TaskItem{[4]byte{0, 0, 1, 0}, 4})
	is(t, "kind", task.Kinds[1].Kind, 1)
	is(t, "reply", task.Kinds[1].ReplyLength, 4)

	made := Task{Number: 7, Enable: true, Protocol: DLT645, Period: 15}
	for i := range made.Kinds {
		made.Kinds[i].Kind = byte(i)
	}
	made.Kinds[0].ReplyLength = 6
	made.Kinds[0].Items = TaskItemList(nil).AppendItem(TaskItem{[4]byte{0, 1, 1, 2}, 2}).AppendItem(TaskItem{[4]byte{0, 0, 1, 0}, 4})
	made.Kinds[1].ReplyLength = 4
	made.Kinds[1].Items = TaskItemList(nil).AppendItem(TaskItem{[4]byte{0, 0, 1, 0}, 4})
	if got, err := made.Append(nil); err != nil || !bytes.Equal(got, u.data) {
		t.Errorf("% X, %v", got, err)
	}
	named(t, "11 F231 down", 1).decode(t, &task)
	is(t, "all", task.Number, AllTasks)
	is(t, "enable", task.Enable, false)

	for _, c := range []struct {
		profile  *Profile
		task     byte
		deletion bool
		ok       bool
	}{
		{&Anhui, 0, false, false}, {&Anhui, 1, false, true}, {&Anhui, 15, false, true}, {&Anhui, 16, false, false},
		{&Anhui, AllTasks, false, false}, {&Anhui, AllTasks, true, true},
		{&Chongqing, 0, false, true}, {&Chongqing, 15, false, true}, {&Chongqing, 16, false, false}, {&Chongqing, AllTasks, true, false},
	} {
		if err := c.profile.CheckTask(c.task, c.deletion); (err == nil) != c.ok || err != nil && !errors.Is(err, ErrValue) {
			t.Errorf("%s, task %d, deletion %v: %v", c.profile.Name, c.task, c.deletion, err)
		}
	}
	is(t, "result", Anhui.Result(2), "duplicate task")
	is(t, "result", Anhui.Result(5), "reserved code 5")
	is(t, "result", StationResult(2), "no frozen data")
	is(t, "result", StationResult(4), "reserved code 4")
	is(t, "result", Chongqing.Result(6), "the network is being formed")
}

func TestInfo_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var i Info
		for n := range i {
			i[n] = rapid.Byte().Draw(t, "byte")
		}
		if back := i.Down().Info(); back != i { // down has no spare bits
			t.Fatalf("%X is %X", i, back)
		}
		u := i.Up()
		if u.Info().Up() != u {
			t.Fatalf("%+v is %+v", u, u.Info().Up())
		}
	})
}

func TestClock_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := func(name string, from, to int) int { return rapid.IntRange(from, to).Draw(t, name) }
		c := Clock{n("year", 1999, 2101), n("month", 0, 13), n("day", 0, 32), n("hour", -1, 24), n("minute", -1, 60), n("second", -1, 60)}
		good := c.Year >= 2000 && c.Year <= 2099 && c.Month >= 1 && c.Month <= 12 && c.Day >= 1 && c.Day <= 31 &&
			c.Hour >= 0 && c.Hour <= 23 && c.Minute >= 0 && c.Minute <= 59 && c.Second >= 0 && c.Second <= 59
		b, err := c.BCD()
		if (err == nil) != good {
			t.Fatalf("%v: %v", c, err)
		}
		if !good {
			return
		}
		if back, err := ClockOf(b); err != nil || back != c {
			t.Fatalf("%v is %v, %v", c, back, err)
		}
	})
}

func TestNodeStates_Properties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		raw := NodeStates(rapid.SliceOfN(rapid.Byte(), nodeStateSize, nodeStateSize).Draw(t, "state"))
		if back := (NodeStates)(nil).AppendState(raw.At(0)); !bytes.Equal(back, raw) {
			t.Fatalf("% X is % X", raw, back)
		}
	})
}

// What can't be sent is refused, and what was there before stays as it was.
func TestAppend_Refuses(t *testing.T) {
	long := make([]byte, 256)
	bad := Address{0x0a}
	for name, c := range map[string]struct {
		append func([]byte) ([]byte, error)
		err    error
	}{
		"forward, protocol":    {(&Forward{Protocol: 4}).Append, ErrProtocol},
		"forward, length":      {(&Forward{Content: long}).Append, ErrLength},
		"monitor, protocol":    {(&Monitor{Protocol: 9}).Append, ErrProtocol},
		"monitor, length":      {(&Monitor{Content: long}).Append, ErrLength},
		"monitor, attached":    {(&Monitor{SubNodes: make(Addresses, 256*6)}).Append, ErrTooMany},
		"monitor, part of one": {(&Monitor{SubNodes: make(Addresses, 5)}).Append, ErrTooMany},
		"reply, length":        {(&MonitorReply{Content: long}).Append, ErrLength},
		"report, length":       {(&ReadReport{Content: long}).Append, ErrLength},
		"event, length":        {(&EventReport{Content: long}).Append, ErrLength},
		"query, address":       {ReadQuery{Meter: bad}.Append, ErrAddress},
		"delay, address":       {(&DelayQuery{Meter: bad}).Append, ErrAddress},
		"answer, verdict":      {(&ReadAnswer{Verdict: 3}).Append, ErrValue},
		"answer, nothing":      {(&ReadAnswer{Verdict: ReadThis}).Append, ErrLength},
		"answer, something":    {(&ReadAnswer{Verdict: ReadDone, Content: long[:3]}).Append, ErrLength},
		"answer, attached":     {(&ReadAnswer{Verdict: ReadDone, SubNodes: make(Addresses, 6)}).Append, ErrTooMany},
		"list":                 {(&NodeList{Nodes: make(NodeStates, 256*8)}).Append, ErrTooMany},
		"task, protocol":       {(&Task{Protocol: 4}).Append, ErrProtocol},
		"task, items":          {(&Task{Kinds: [3]TaskItems{2: {Items: long[:7]}}}).Append, ErrTooMany},
		"task, meters":         {(&TaskNodes{Nodes: make(Addresses, 600*6)}).Append, ErrTooMany},
		"task report, address": {(&TaskReport{Meter: bad, At: Clock{2026, 1, 1, 0, 0, 0}}).Append, ErrAddress},
		"task report, time":    {(&TaskReport{}).Append, ErrValue},
		"rates":                {(&RunMode{Rates: long[:32]}).Append, ErrTooMany},
		"nodes, none":          {func(b []byte) ([]byte, error) { return AppendNodes(b, nil) }, ErrTooMany},
		"nodes, 256":           {func(b []byte) ([]byte, error) { return AppendNodes(b, make([]Node, 256)) }, ErrTooMany},
		"nodes, address":       {func(b []byte) ([]byte, error) { return AppendNodes(b, []Node{{}, {Address: bad}}) }, ErrAddress},
		"nodes, protocol":      {func(b []byte) ([]byte, error) { return AppendNodes(b, []Node{{Protocol: 4}}) }, ErrProtocol},
		"clock":                {func(b []byte) ([]byte, error) { return AppendClock(b, Clock{}) }, ErrValue},
	} {
		out, err := c.append([]byte{1, 2})
		if !errors.Is(err, c.err) || !bytes.Equal(out, []byte{1, 2}) {
			t.Errorf("%s: % X, %v", name, out, err)
		}
	}
}
