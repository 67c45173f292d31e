package instance

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"reflect"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
)

func TestRecord_IsReadAsWritten(t *testing.T) {
	d := Dir(t.TempDir())
	now := time.Now().Round(0).UTC()
	want := Record{Protocol: Protocol, Final: true, Boot: "b", PID: 7, Ticks: 8, Status: workload.Status{
		Name: "a", Instance: "i", Hash: "h", Mode: schema.ModeHost, State: workload.Exited, StartedAt: now, ExitedAt: now,
		ExitCode: 137, Signal: "SIGKILL", OOM: true, Target: "t", TargetInstance: "ti", Error: "e"}}
	if err := d.WriteRecord(want); err != nil {
		t.Fatal(err)
	}
	got, err := d.ReadRecord()
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v %v", got, err)
	}
	if entries, _ := os.ReadDir(string(d)); len(entries) != 1 {
		t.Errorf("left-overs: %v", entries)
	}
}

// That the former instance has no ports is another thing than that nobody said which.
func TestRequest_SaysThatTheFormerHasNoPorts(t *testing.T) {
	for want, ports := range map[string][]schema.Port{
		"none": {}, "one": {{Host: 80, Container: 80, Protocol: "tcp"}}, "not said": nil,
	} {
		d := Dir(t.TempDir())
		if err := d.PutRequest(Request{FormerPorts: ports}); err != nil {
			t.Fatal(err)
		}
		if r, err := d.ReadRequest(); err != nil || r.Protocol != plain || !reflect.DeepEqual(r.FormerPorts, ports) {
			t.Errorf("%s: %#v %v", want, r.FormerPorts, err)
		}
	}
}

// An agent must not misread what a later shim wrote, nor a shim obey a request
// it does not understand.
func TestProtocol_OtherVersionsAreRefused(t *testing.T) {
	d := Dir(t.TempDir())
	for path, read := range map[string]func() error{
		d.Spec():   func() error { _, err := d.ReadRequest(); return err },
		d.Status(): func() error { _, err := d.ReadRecord(); return err },
	} {
		for _, v := range []int{0, Protocol + 1} {
			b, _ := json.Marshal(map[string]any{"protocol": v, "unknown": true})
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			if err := read(); !errors.Is(err, ErrProtocol) {
				t.Errorf("%s version %d: %v", path, v, err)
			}
		}
		if err := os.WriteFile(path, []byte(`{"protocol":`), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := read(); err == nil {
			t.Errorf("%s: half a file was accepted", path)
		}
	}
}

// What a shim of an earlier version holds stays readable for it.
func TestProtocol_EarlierVersionsAreKept(t *testing.T) {
	d := Dir(t.TempDir())
	if err := d.WriteRequest(Request{Instance: "i"}); err != nil {
		t.Fatal(err)
	}
	if _, newer := d.Newer(); newer {
		t.Error("what was just written is newer than itself")
	}
	for v := 1; v <= Protocol; v++ {
		if err := d.WriteReload(Request{Protocol: v, Instance: "i"}); err != nil {
			t.Fatal(err)
		}
		if err := d.Reloaded(); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadRequest(); err != nil || got.Protocol != v {
			t.Errorf("request of version %d: %+v %v", v, got, err)
		}
		if err := d.WriteRecord(Record{Protocol: v}); err != nil {
			t.Fatal(err)
		}
		if got, err := d.ReadRecord(); err != nil || got.Protocol != v {
			t.Errorf("record of version %d: %+v %v", v, got, err)
		}
	}
	if err := d.WriteRecord(Record{Protocol: Protocol + 1}); err != nil {
		t.Fatal(err)
	}
	if v, newer := d.Newer(); !newer || v != Protocol+1 {
		t.Errorf("%d %v", v, newer)
	}
}

func TestLock_LivesAsLongAsItsHolder(t *testing.T) {
	d := Dir(t.TempDir())
	if d.Held() {
		t.Error("held before it exists")
	}
	lock, err := d.Acquire()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.Acquire(); err == nil {
		t.Error("acquired twice")
	}
	holder := exec.Command("sleep", "1000")
	holder.ExtraFiles = []*os.File{lock}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if !d.Held() {
		t.Error("the holder's copy does not count")
	}
	_ = holder.Process.Kill()
	_ = holder.Wait()
	if d.Held() {
		t.Error("held by the dead")
	}
}

func TestRecord_AliveIsNotFooled(t *testing.T) {
	p, ok := Inspect(os.Getpid())
	if !ok {
		t.Fatal("cannot inspect itself")
	}
	r := Record{PID: os.Getpid(), Ticks: p.Ticks, Boot: BootID()}
	if !r.Alive() {
		t.Error("we are alive")
	}
	for name, other := range map[string]Record{
		"other process": {PID: r.PID, Ticks: r.Ticks + 1, Boot: r.Boot},
		"other boot":    {PID: r.PID, Ticks: r.Ticks, Boot: "x"},
		"none":          {},
	} {
		if other.Alive() {
			t.Errorf("%s counts as alive", name)
		}
	}
	child := exec.Command("true")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if z, ok := Inspect(child.Process.Pid); ok && z.Zombie {
			if (Record{PID: child.Process.Pid, Ticks: z.Ticks, Boot: r.Boot}).Alive() {
				t.Error("a zombie counts as alive")
			}
			break
		}
	}
	_ = child.Wait()
}
