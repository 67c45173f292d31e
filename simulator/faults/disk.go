package faults

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"gnomon/simulator/edgeproc"
)

// archive writes a root file system as a tar, or half of it.
func archive(path, root string, half bool) error {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	if err := errors.Join(w.AddFS(os.DirFS(root)), w.Close()); err != nil {
		return err
	}
	content := b.Bytes()
	if half {
		content = content[:len(content)/2]
	}
	return os.WriteFile(path, content, 0o644)
}

// isStore returns a test for a code of the node's own disk.
func isStore(code string) func(storeReport) string {
	return func(s storeReport) string {
		if s.Error != nil && s.Error.Code == code {
			return code
		}
		return ""
	}
}

// diskFaults: the node's disk is full or can't be written.
func diskFaults() []fault {
	return []fault{
		{"disk", "full disk", nil, func(t *trial) {
			t.sufferer("container")
			t.onFullDisk(func() {
				t.until("the node to say what is wrong", t.blockedByDisk)
			})
			t.converge(t.name)
		}},
		{"disk", "full disk as the agent starts", nil, func(t *trial) {
			t.sufferer("container")
			t.node.Kill()
			t.onFullDisk(func() {
				t.restart()
				t.until("the node to say what is wrong", t.blockedByDisk)
			})
			t.converge(t.name)
		}},
		{"disk", "read-only disk", nil, func(t *trial) {
			t.sufferer("container")
			t.onReadOnlyDisk(func() {
				t.put(t.name, t.suffering("container", 1))
				t.hearNode("the disk to be called read-only", isStore("store-read-only"))
			})
			t.converge(t.name)
		}},
		{"disk", "read-only disk as the agent starts", nil, func(t *trial) {
			t.sufferer("container")
			t.node.Kill()
			t.onReadOnlyDisk(func() {
				t.restart()
				t.hearNode("the disk to be called read-only", isStore("store-read-only"))
			})
			t.restart() // on a disk that can be written
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
		}},
	}
}

// onFullDisk does something while there is no room, and then makes some.
func (t *trial) onFullDisk(during func()) {
	var mends []func() error
	fill := func() {
		t.do("fill the disk", func() error {
			mend, err := t.node.Fill()
			if err == nil {
				mends = append(mends, mend)
			}
			return err
		})
	}
	fill()
	t.do("use up the reserve", func() error {
		err := os.Remove(filepath.Join(t.node.Data, "state", "reserve"))
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		return err
	})
	fill()
	during()
	for _, mend := range mends {
		if err := mend(); err != nil && t.err == nil {
			t.err = err
		}
	}
}

// blockedByDisk asks for one change after the other until the node says that
// there is no room, for its own records or for what it was to start.
func (t *trial) blockedByDisk() (bool, string) {
	t.put(t.name, t.suffering("container", int(time.Now().UnixNano()%1e9)))
	done := false
	t.hearSoon(func(s storeReport, r reported) bool {
		for _, c := range r.codes() {
			if c == "start-failed" || c == "stop-failed" || c == "disk-full" {
				t.say(c)
				done = true
			}
		}
		if s.Error != nil {
			t.say(s.Error.Code)
			done = true
		}
		return done
	})
	return done, fmt.Sprint(t.err)
}

// onReadOnlyDisk does something while nothing can be written.
func (t *trial) onReadOnlyDisk(during func()) {
	var mend func() error
	t.do("make the disk read-only", func() (err error) {
		mend, err = t.node.ReadOnly()
		return err
	})
	if t.err != nil {
		return
	}
	during()
	if err := mend(); err != nil && t.err == nil {
		t.err = fmt.Errorf("make the disk writable: %w", err)
	}
}

// rotFaults: what the agent has on disk is rubbish when it starts.
func rotFaults() (all []fault) {
	told := func(s storeReport) string {
		if s.SetAside > 0 {
			return fmt.Sprintf("%d set aside", s.SetAside)
		}
		return ""
	}
	for _, c := range []struct {
		what  string
		files []string
	}{
		{"what is desired of an application", []string{"desired-app%3avictim"}},
		{"the outbox of an application", []string{"outbox-app%3avictim"}},
		{"what the planner remembers", []string{"plan-app%3avictim"}},
		{"the boot epoch", []string{"node-epoch"}},
		{"every record", nil},
	} {
		all = append(all, fault{"rot", c.what + " turns to rubbish", nil, func(t *trial) {
			t.sufferer("container")
			t.written(c.files)
			before := t.pid(t.name)
			t.node.Kill()
			t.do("damage records", func() error { return rot(t.node, c.files...) })
			t.restart()
			t.hearNode("records to be set aside", told)
			t.do("look at what runs", func() error {
				if edgeproc.Ticks(before) == "" {
					return errors.New("it was restarted")
				}
				return nil
			})
			t.put(t.name, t.suffering("container", 1))
			t.replaced(t.name, before)
		}})
	}
	return append(all, fault{"rot", "all records turn to rubbish without a cloud", nil, func(t *trial) {
		t.sufferer("container")
		t.written(nil)
		before := t.pid(t.name)
		t.cloud.Kill()
		t.node.Kill()
		t.do("damage records", func() error { return rot(t.node) })
		t.restart()
		t.until("the agent to start", func() (bool, string) {
			_, err := os.Stat(filepath.Join(t.node.Data, "state", "bad.node-epoch"))
			return err == nil, ""
		})
		t.do("start the cloud", func() error { return t.startCloud(t.ctx) })
		t.hearNode("records to be set aside", told)
		t.converge(t.name)
		if now := t.pid(t.name); t.err == nil && now != before {
			t.err = fmt.Errorf("process %d before, %d after", before, now)
		}
	}})
}

// written waits until records are on disk; nil: all of an application's.
func (t *trial) written(files []string) {
	if files == nil {
		files = []string{"desired-app%3avictim", "outbox-app%3avictim", "plan-app%3avictim"}
	}
	t.until("records to be written", func() (bool, string) {
		for _, f := range files {
			if _, err := os.Stat(filepath.Join(t.node.Data, "state", f)); err != nil {
				return false, err.Error()
			}
		}
		return true, ""
	})
}

// clockFaults: the clock is wrong when the agent starts, and right later.
func clockFaults() (all []fault) {
	const tenYears = 10 * 365 * 24 * time.Hour
	for _, c := range []struct {
		what   string
		offset time.Duration
	}{{"clock in 1970", -time.Since(time.Unix(0, 0))}, {"clock ten years ahead", tenYears}, {"clock ten years behind", -tenYears}} {
		all = append(all, fault{"clock", c.what, nil, func(t *trial) {
			t.sufferer("container")
			t.restart("GNOMON_CLOCK_OFFSET=" + c.offset.String())
			t.put(t.name, t.suffering("container", 1))
			t.converge(t.name)
			t.killed(t.pid(t.name)) // with a pause before the next try, by this clock
			t.restart()
			t.put(t.name, t.suffering("container", 2))
			t.converge(t.name)
		}})
	}
	return all
}

// rot replaces the content of records by rubbish, nil: all of them. The agent
// must not run.
func rot(n *edgeproc.Node, names ...string) error {
	if names == nil {
		found, err := filepath.Glob(filepath.Join(n.Data, "state", "*"))
		if err != nil {
			return err
		}
		for _, path := range found {
			if name := filepath.Base(path); name != "lock" && name != "reserve" {
				names = append(names, name)
			}
		}
	}
	for _, name := range slices.Compact(names) {
		path := filepath.Join(n.Data, "state", name)
		if _, err := os.Stat(path); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte("\x00rubbish\xff\n"), 0o600); err != nil {
			return err
		}
	}
	return nil
}
