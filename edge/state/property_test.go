package state

import (
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"gnomon/edge/filesys/crashfs"
)

// key is one record.
type key struct {
	kind Kind
	name string
}

// absent is the value of a record that isn't there.
const absent = ""

// machine is a store beside what may be found in it: after a change that was
// acknowledged one value, after one that was not the old or the new.
type machine struct {
	t     *rapid.T
	disk  *crashfs.Disk
	store *Store
	may   map[key][]string
	used  map[uint64]bool // boot epochs
	n     int             // makes values differ
}

var kinds = []Kind{KindDesired, KindOutbox, KindPlan}

func (m *machine) keys(t *rapid.T) []key {
	return rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) key {
		return key{rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.SampledFrom([]string{"", "app:a", "app:b", "collect:m", "app:.tmp"}).Draw(t, "name")}
	}), 1, 3, rapid.ID).Draw(t, "keys")
}

// expect notes what keys may hold after a change came back with err.
func (m *machine) expect(keys []key, value string, err error) {
	for _, k := range keys {
		if err == nil {
			m.may[k] = []string{value}
		} else {
			m.may[k] = append(m.may[k], value)
		}
	}
	if err != nil && !errors.Is(err, crashfs.ErrOff) && !errors.Is(err, unix.ENOSPC) && !errors.Is(err, unix.EIO) {
		m.t.Fatalf("a failure that nobody made: %v", err)
	}
	fault := m.store.Health().Fault
	if (err == nil) != (fault == nil) || errors.Is(err, unix.ENOSPC) && fault.Code != CodeFull {
		m.t.Fatalf("a change came back with %v and health says %+v", err, fault)
	}
}

// put writes a batch of records.
func (m *machine) put(t *rapid.T) {
	m.n++
	text, _ := json.Marshal(map[string]any{"n": m.n, "filling": rapid.StringN(0, 200, -1).Draw(t, "filling")})
	keys := m.keys(t)
	var records []Record
	for _, k := range keys {
		records = append(records, Record{k.kind, k.name, text})
	}
	m.expect(keys, string(text), m.store.Put(records...))
}

// delete removes records of a kind.
func (m *machine) delete(t *rapid.T) {
	all := m.keys(t)
	all = slices.DeleteFunc(all, func(k key) bool { return k.kind != all[0].kind })
	var names []string
	for _, k := range all {
		names = append(names, k.name)
	}
	m.expect(all, absent, m.store.Delete(all[0].kind, names...))
}

// raise raises the boot epoch.
func (m *machine) raise(t *rapid.T) {
	e := m.store.BootEpoch() + rapid.Uint64Range(1, 9).Draw(t, "by")
	if err := m.store.RaiseEpoch(e); err == nil && m.store.BootEpoch() < e {
		t.Fatalf("epoch %d after it was raised to %d", m.store.BootEpoch(), e)
	}
	m.used[m.store.BootEpoch()] = true
}

// trouble arms the disk: soon the power goes, or an operation fails.
func (m *machine) trouble(t *rapid.T) {
	m.disk.Trouble(rapid.IntRange(0, 25).Draw(t, "operations"),
		rapid.SampledFrom([]error{nil, nil, unix.ENOSPC, unix.EIO}).Draw(t, "failure"))
}

// reboot loses power, whatever is under way, and starts again.
func (m *machine) reboot(*rapid.T) {
	m.disk.Restart()
	m.open(0)
}

// rot damages some records while nothing runs.
func (m *machine) rot(t *rapid.T) {
	m.disk.Restart()
	var rotten []key
	for _, k := range m.keys(t) {
		name := fileName(k.kind, k.name)
		content := m.disk.Files()[name]
		if len(content) == 0 {
			continue
		}
		at := rapid.IntRange(0, len(content)-1).Draw(t, "at")
		if rapid.Bool().Draw(t, "cut") {
			content = content[:at]
		} else {
			content[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		}
		m.disk.Plant(name, content)
		m.may[k] = []string{absent}
		rotten = append(rotten, k)
	}
	m.open(len(rotten))
}

// open starts on what is there, of which some records are damaged.
func (m *machine) open(damaged int) {
	s, err := Open(Config{FS: m.disk.Mount()})
	if err != nil {
		m.t.Fatalf("open: %v", err)
	}
	m.store = s
	if m.used[s.BootEpoch()] {
		m.t.Fatalf("boot epoch %d was used before", s.BootEpoch())
	}
	m.used[s.BootEpoch()] = true
	m.check(damaged)
}

// check compares all that is there with what may be. What is found is settled.
func (m *machine) check(damaged int) {
	for _, kind := range kinds {
		found, err := m.store.All(kind)
		if err != nil {
			m.t.Fatal(err)
		}
		for name, data := range found {
			k := key{kind, name}
			if !slices.Contains(m.may[k], string(data)) {
				m.t.Fatalf("%v is %q, it may be one of %q", k, data, m.may[k])
			}
			m.may[k] = []string{string(data)}
		}
		for k, may := range maps.All(m.may) {
			if _, there := found[k.name]; k.kind != kind || there {
				continue
			}
			if !slices.Contains(may, absent) {
				m.t.Fatalf("%v is gone, it may be one of %q", k, may)
			}
			m.may[k] = []string{absent}
		}
	}
	if h := m.store.Health(); h.SetAside != damaged || len(h.Records) != min(damaged, keptNames) {
		m.t.Fatalf("%d records were damaged, health says %+v", damaged, h)
	}
}

// TestStore_AnySequence does anything in any order, loses power before any
// operation of the disk and lets any fail, and holds what is found then against
// what was acknowledged: all of that is there, what was not is old or new, what
// was damaged is set aside and nothing else, and no boot epoch comes twice.
func TestStore_AnySequence(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &machine{t: t, disk: crashfs.New(rapid.Uint64().Draw(t, "seed")), may: map[key][]string{}, used: map[uint64]bool{}}
		for _, kind := range kinds {
			for _, name := range []string{"", "app:a", "app:b", "collect:m", "app:.tmp"} {
				m.may[key{kind, name}] = []string{absent}
			}
		}
		m.open(0)
		t.Repeat(map[string]func(*rapid.T){
			"put": m.put, "delete": m.delete, "raise": m.raise, "trouble": m.trouble, "reboot": m.reboot, "rot": m.rot,
			"": func(*rapid.T) {
				if m.disk.Off() {
					m.reboot(nil)
				}
			},
		})
		m.reboot(t)
	})
}
