package wire

import (
	"encoding/binary"
	"fmt"
)

// Profile is what a province has made of proactive collection: tasks by which
// nodes collect at fixed times, and the module reports without being asked. The
// standard knows nothing of it. Data units are known of Anhui's.
type Profile struct {
	Name      string
	AFN       AFN // of the configuration
	FirstTask byte
	LastTask  byte
	AllTasks  bool // task FFH is all of them, in a deletion
	DataUnits bool // the data units of this package are the province's
	Results   []string
}

// The Fns of proactive collection, in Anhui's profile.
const (
	FnTaskReport Fn = 230 // 06H
	FnTaskCount  Fn = 230 // 10H
	FnTask       Fn = 231 // 10H, 11H
	FnTaskNodes  Fn = 232 // 10H, 11H
)

// AllTasks is the number of all tasks.
const AllTasks = 0xff

// The profiles, by province.
var (
	Anhui = Profile{
		Name: "anhui", AFN: AFNRouteSet, FirstTask: 1, LastTask: 15, AllTasks: true, DataUnits: true,
		Results: []string{"done", "no such task", "duplicate task", "unknown protocol", "too many tasks"},
	}
	Chongqing = Profile{
		Name: "chongqing", AFN: AFNControl, FirstTask: 0, LastTask: 15,
		Results: []string{"done", "no such task", "duplicate task", "unknown protocol", "too many tasks", "wrong parameter", "the network is being formed"},
	}
)

// StationResult spells out what a node's module says of a task's reading.
func StationResult(code byte) string { return spell(stationResults, code) }

var stationResults = []string{"done", "no such task", "no frozen data", "other error"}

// Result spells out what a configuration has come to.
func (p *Profile) Result(code byte) string { return spell(p.Results, code) }

func spell(names []string, code byte) string {
	if int(code) < len(names) {
		return names[code]
	}
	return fmt.Sprintf("reserved code %d", code)
}

// CheckTask makes sure that a province has a task of this number.
func (p *Profile) CheckTask(task byte, deletion bool) error {
	if task == AllTasks && p.AllTasks && deletion || task >= p.FirstTask && task <= p.LastTask {
		return nil
	}
	return syntax(0, "task", ErrValue, "%d, %s has %d to %d", task, p.Name, p.FirstTask, p.LastTask)
}

// MeterKinds are single-phase, three-phase and other meters: what is collected
// from each is said apart.
const MeterKinds = 3

// Task is 11H-F231 down: a task is set, or deleted.
type Task struct {
	Number   byte
	Enable   bool // otherwise it is deleted
	Protocol Protocol
	Period   byte // minutes
	Kinds    [MeterKinds]TaskItems
}

// TaskItems is what is collected from meters of a kind.
type TaskItems struct {
	Kind        byte   // 0 single-phase, 1 three-phase, 2 other
	ReplyLength uint16 // of all items together
	Items       TaskItemList
	short       bool // there are no items, and no ReplyLength was sent
}

// TaskItem is an item and the length of its value.
type TaskItem struct {
	ID     [4]byte // DI or OAD in the order it is sent
	Length byte
}

// TaskItemList are items in the bytes they were found in.
type TaskItemList []byte

const taskItemSize = 5

// Len is how many there are.
func (l TaskItemList) Len() int { return len(l) / taskItemSize }

// At returns the ith.
func (l TaskItemList) At(i int) TaskItem {
	b := l[i*taskItemSize:]
	return TaskItem{[4]byte(b), b[4]}
}

// AppendItem appends an item.
func (l TaskItemList) AppendItem(i TaskItem) TaskItemList {
	return append(append(l, i.ID[:]...), i.Length)
}

// Decode reads the data unit. A kind of meter without items may go without its
// reply length.
func (t *Task) Decode(data []byte) error {
	err := t.decode(data, false)
	if err != nil && t.decode(data, true) == nil {
		return nil
	}
	return err
}

func (t *Task) decode(data []byte, short bool) error {
	c := cursor{data: data}
	t.Number, t.Enable = c.byte("task"), c.flag("enable")
	t.Protocol, t.Period = c.protocol("protocol"), c.byte("period")
	for i := range t.Kinds {
		k := &t.Kinds[i]
		*k = TaskItems{Kind: c.byte("kind of meter")}
		n := int(c.byte("items"))
		if k.short = short && n == 0; !k.short {
			k.ReplyLength = c.uint16("reply length")
		}
		k.Items = c.take(n*taskItemSize, "items")
	}
	return c.end()
}

// Append encodes the data unit behind dst.
func (t *Task) Append(dst []byte) ([]byte, error) {
	if err := t.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	out := append(dst, t.Number, bit(t.Enable, 1), byte(t.Protocol), t.Period)
	for _, k := range t.Kinds {
		if k.Items.Len() > 255 || len(k.Items)%taskItemSize != 0 {
			return dst, syntax(0, "items", ErrTooMany, "%d bytes of items, 255 of %d bytes are the limit", len(k.Items), taskItemSize)
		}
		out = append(out, k.Kind, byte(k.Items.Len()))
		if !k.short || len(k.Items) > 0 {
			out = binary.LittleEndian.AppendUint16(out, k.ReplyLength)
		}
		out = append(out, k.Items...)
	}
	return out, nil
}

// TaskNodes is 11H-F232 down: the meters of a task.
type TaskNodes struct {
	Number byte
	Nodes  Addresses
}

// Decode reads the data unit.
func (t *TaskNodes) Decode(data []byte) error {
	c := cursor{data: data}
	t.Number, t.Nodes = c.byte("task"), c.decimals(2, "meters")
	return c.end()
}

// Append encodes the data unit behind dst.
func (t *TaskNodes) Append(dst []byte) ([]byte, error) {
	if len(t.Nodes)%addressSize != 0 || len(t.Nodes) > MaxData-3 {
		return dst, syntax(0, "meters", ErrTooMany, "%d bytes of addresses, %d are the limit", len(t.Nodes), MaxData-3)
	}
	dst = binary.LittleEndian.AppendUint16(append(dst, t.Number), uint16(t.Nodes.Len()))
	return append(dst, t.Nodes...), nil
}

// TaskReport is 06H-F230: what a task has collected of one meter. It is answered
// with 00H-F1.
type TaskReport struct {
	Number   byte
	Meter    Address
	Protocol Protocol
	At       Clock
	Content  []byte
}

// Decode reads the data unit.
func (r *TaskReport) Decode(data []byte) error {
	c := cursor{data: data}
	r.Number, r.Meter, r.Protocol = c.byte("task"), c.decimal("meter"), c.protocol("protocol")
	r.At, r.Content = c.clock(true, "time"), c.message(2, "meter frame")
	return c.end()
}

// Append encodes the data unit behind dst.
func (r *TaskReport) Append(dst []byte) ([]byte, error) {
	if err := r.Protocol.check("protocol"); err != nil {
		return dst, err
	}
	if err := r.Meter.Check(); err != nil {
		return dst, err
	}
	if err := bounded(len(r.Content), MaxData-16, "meter frame"); err != nil {
		return dst, err
	}
	b, err := r.At.BCD()
	if err != nil {
		return dst, err
	}
	dst = append(append(append(dst, r.Number), r.Meter[:]...), byte(r.Protocol))
	dst = append(dst, b[5], b[4], b[3], b[2], b[1], b[0])
	dst = binary.LittleEndian.AppendUint16(dst, uint16(len(r.Content)))
	return append(dst, r.Content...), nil
}
