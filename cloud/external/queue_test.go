package external

import (
	"testing"

	"pgregory.net/rapid"
)

// A queue against a model: messages go out in order and once, the oldest are
// dropped and no more than needed, and a request is acknowledged once, in order,
// and not before the broker has what was said before it or has lost it for good.
func TestQueueProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const most, mostBytes = 5, 40
		dropped := 0
		q := newQueue(most, mostBytes, func(n int) { dropped += n })
		one, two := q.join(), q.join()
		published, sentUpTo, id := uint64(0), uint64(0), uint16(0)
		lost := map[uint64]bool{}      // numbers that the broker will never have
		confirmed := map[uint64]bool{} // and those that it has
		var under []flight             // sent, and not yet landed
		waiting := map[*tail][]ack{}   // as the model has it
		acked := map[*tail]uint16{}    // the last one
		nextAck := map[*tail]uint16{one: 1, two: 1}
		look := func(t *rapid.T, of *tail) (publication, bool) {
			ids, m, ok := q.next(of)
			for _, id := range ids {
				if id != acked[of]+1 {
					t.Fatalf("acknowledged %d after %d", id, acked[of])
				}
				acked[of] = id
				a := waiting[of][0]
				waiting[of] = waiting[of][1:]
				for n := uint64(1); n <= a.after; n++ {
					if !confirmed[n] && !lost[n] {
						t.Fatalf("request %d is acknowledged, and message %d isn't at the broker", id, n)
					}
				}
			}
			return m, ok
		}
		t.Repeat(map[string]func(*rapid.T){
			"publish": func(t *rapid.T) {
				before := dropped
				size := rapid.IntRange(0, 20).Draw(t, "size")
				q.publish("t", make([]byte, size))
				published++
				first := published + 1
				if len(q.messages) > 0 {
					first = q.messages[0].number
				}
				for n := first - uint64(dropped-before); n < first; n++ {
					lost[n] = true
				}
				if q.waiting() > most || q.used > mostBytes {
					t.Fatalf("%d messages, %d bytes", q.waiting(), q.used)
				}
			},
			"send": func(t *rapid.T) {
				m, ok := look(t, one)
				if !ok {
					t.Skip("nothing waits")
				}
				if m.number <= sentUpTo || lost[m.number] {
					t.Fatalf("message %d after %d (lost: %v)", m.number, sentUpTo, lost[m.number])
				}
				sentUpTo = m.number
				id++
				q.track(id, m.number)
				q.sent(m)
				under = append(under, flight{id: id, number: m.number})
			},
			"land": func(t *rapid.T) {
				if len(under) == 0 {
					t.Skip("nothing is under way")
				}
				i := rapid.IntRange(0, len(under)-1).Draw(t, "which")
				confirmed[under[i].number] = true
				q.landed(under[i].id)
				under = append(under[:i:i], under[i+1:]...)
			},
			"forget": func(*rapid.T) {
				for _, f := range under {
					lost[f.number] = true
				}
				under = nil
				q.anew()
			},
			"acknowledge": func(t *rapid.T) {
				of := rapid.SampledFrom([]*tail{one, two}).Draw(t, "of")
				q.acknowledge(of, []uint16{nextAck[of]})
				waiting[of] = append(waiting[of], ack{nextAck[of], published})
				nextAck[of]++
			},
			"": func(t *rapid.T) { look(t, one); look(t, two) },
		})
		for m, ok := look(t, one); ok; m, ok = look(t, one) {
			confirmed[m.number] = true
			q.sent(m)
		}
		for _, f := range under {
			confirmed[f.number] = true
			q.landed(f.id)
		}
		look(t, one)
		look(t, two)
		if len(waiting[one]) > 0 || len(waiting[two]) > 0 || !q.empty(one) || !q.empty(two) {
			t.Fatalf("never acknowledged: %v", waiting)
		}
		q.leave(two)
		q.acknowledge(two, []uint16{9})
		if !q.empty(two) {
			t.Fatal("acknowledgements of a connection that has left are kept")
		}
	})
}

// The ledger hands on what is settled in the order of arrival, and nothing that
// has something open before it.
func TestLedgerProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := new(ledger)
		var open []*entry
		settled := map[uint16]bool{}
		added, told := uint16(0), uint16(0)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(*rapid.T) {
				added++
				open = append(open, l.add(added))
			},
			"settle": func(t *rapid.T) {
				if len(open) == 0 {
					t.Skip("nothing is open")
				}
				i := rapid.IntRange(0, len(open)-1).Draw(t, "which")
				settled[open[i].id] = true
				l.settle(open[i], func(ids []uint16) {
					for _, id := range ids {
						if id != told+1 || !settled[id] {
							t.Fatalf("%d after %d, settled: %v", id, told, settled[id])
						}
						told = id
					}
				})
				open = append(open[:i:i], open[i+1:]...)
				if told < added && settled[told+1] {
					t.Fatalf("%d is settled, with nothing open before it, and not told", told+1)
				}
			},
		})
	})
}
