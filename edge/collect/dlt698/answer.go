package dlt698

import (
	"slices"
	"time"

	"gnomon/edge/collect/dlt698/wire"
)

// reader takes the answer to a batch out of messages, part by part.
type reader struct {
	batch  batch
	at     time.Time // when the part at hand came
	got    map[slot]found
	span   *span // records of several times; nil = what the batch says
	parts  int   // taken
	number int   // of the part taken last
}

// What an answer in parts may have at the most.
const maxParts = 64

// take takes a message, if it belongs to the batch; more tells that another part
// is to be asked for. errNotOurs is any other message; then nothing is taken.
func (r *reader) take(m *wire.Message) (more bool, err error) {
	switch m.Nodes[0].Num {
	case wire.ErrorResponse:
		return false, &ServiceError{byte(m.Nodes[m.Find(1, "response", "error")].Num)}
	case wire.GetResponse:
	default:
		return false, errNotOurs
	}
	service := m.Find(1, "response")
	kind := m.Nodes[service].Num
	body := service + 1
	if kind == wire.GetNext {
		return r.next(m, body)
	}
	want := uint64(wire.GetNormalList)
	switch {
	case r.batch.record != 0:
		want = wire.GetRecord
	case len(r.batch.oads) == 1:
		want = wire.GetNormal
	}
	if kind != want || r.parts > 0 {
		return false, errNotOurs
	}
	if kind == wire.GetNormalList {
		return false, r.list(m, m.Find(body, "results"))
	}
	return false, r.list(m, body)
}

// next takes one part.
func (r *reader) next(m *wire.Message, body int) (more bool, err error) {
	last := m.Nodes[m.Find(body, "last")].Num != 0
	number := int(m.Nodes[m.Find(body, "part")].Num)
	if r.parts > 0 && number != r.number+1 {
		return false, errNotOurs // one that was taken already, or of another answer
	}
	results := m.Find(body, "results")
	if m.Nodes[results].Num == 0 {
		return false, &Refused{OAD: r.batch.oads[0], Code: wire.DAR(m.Nodes[results+1].Num)}
	}
	if r.parts == maxParts {
		return false, errEndless
	}
	if err := r.list(m, results+1); err != nil {
		return false, err
	}
	r.parts++
	r.number = number
	return !last, nil
}

// list takes the results that node at is made of, after it has seen that they
// are all ours.
func (r *reader) list(m *wire.Message, at int) error {
	for _, check := range []bool{true, false} {
		for i := range m.Children(at) {
			if m.Nodes[i].Kind != wire.KindSequence {
				continue // the number of the service, beside a single result
			}
			take := r.single
			if r.batch.record != 0 {
				take = r.rows
			}
			if err := take(m, i, check); err != nil {
				return err
			}
		}
	}
	return nil
}

// single takes the result of one attribute.
func (r *reader) single(m *wire.Message, at int, check bool) error {
	oad := wire.ObjectAttribute(m.Nodes[at+1].Num)
	if _, twice := r.got[slot{r.batch.batchKey, oad}]; twice && check || !slices.Contains(r.batch.oads, oad) {
		return errNotOurs
	}
	if m.Find(at, "columns") >= 0 {
		return errNotOurs
	}
	if check {
		return nil
	}
	f := found{at: r.at}
	result := m.Find(at, "result")
	if m.Nodes[result].Num == 0 {
		f.err = &Refused{OAD: oad, Code: wire.DAR(m.Nodes[result+1].Num)}
	} else {
		f.value = datumOf(m, result+1)
	}
	r.got[slot{r.batch.batchKey, oad}] = f
	return nil
}

// rows takes the columns of one record, which is the first row.
func (r *reader) rows(m *wire.Message, at int, check bool) error {
	if wire.ObjectAttribute(m.Nodes[at+1].Num) != r.batch.record {
		return errNotOurs
	}
	columns := m.Find(at, "columns")
	if columns < 0 || int(m.Nodes[columns].Num) != len(r.batch.oads) {
		return errNotOurs
	}
	k := 0
	for c := range m.Children(columns) {
		if n := &m.Nodes[c+1]; n.Kind != wire.OAD || wire.ObjectAttribute(n.Num) != r.batch.oads[k] {
			return errNotOurs
		}
		k++
	}
	if r.span != nil {
		if !check {
			r.span.take(m, m.Find(at, "result"), r)
		}
		return nil
	}
	if _, have := r.got[slot{r.batch.batchKey, r.batch.oads[0]}]; have || check {
		return nil // of several records the first is the one
	}
	result := m.Find(at, "result")
	fill := func(f found) {
		for _, oad := range r.batch.oads {
			r.got[slot{r.batch.batchKey, oad}] = f
		}
	}
	switch rows := result + 1; {
	case m.Nodes[result].Num == 0:
		fill(found{at: r.at, err: &Refused{OAD: r.batch.record, Code: wire.DAR(m.Nodes[rows].Num)}})
	case m.Nodes[rows].Num == 0:
		fill(found{at: r.at, err: errNoRecord})
	default:
		k := 0
		for c := range m.Children(rows + 1) {
			r.got[slot{r.batch.batchKey, r.batch.oads[k]}] = found{at: r.at, value: datumOf(m, c)}
			k++
		}
	}
	return nil
}
