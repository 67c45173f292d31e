package executor_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"gnomon/edge/workload"
	"gnomon/edge/workload/instance"
)

// shimEnv makes the test program a shim of an earlier version, for an instance
// that is there already. It knows of that version's files only what testdata has.
const shimEnv = "GNOMON_TEST_SHIM"

func oldShim(dir string) int {
	stop := make(chan os.Signal, 4)
	signal.Notify(stop, syscall.SIGWINCH)
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		err = syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	}
	main := exec.Command("sleep", "1000")
	if err == nil {
		err = main.Start()
	}
	if err == nil {
		err = writeOld(dir, "status.json", main.Process.Pid)
	}
	if err == nil {
		_, err = lock.WriteString(strconv.Itoa(os.Getpid()) + "\n")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("holds")
	<-stop
	var asked struct{ Grace time.Duration }
	b, err := os.ReadFile(filepath.Join(dir, "stop.json"))
	if err == nil {
		err = json.Unmarshal(b, &asked)
	}
	// An earlier shim reads its request again in the end: it must be able to.
	spec, serr := os.ReadFile(filepath.Join(dir, "spec.json"))
	if err != nil || serr != nil || !bytes.HasPrefix(spec, []byte(`{"protocol":1,`)) {
		fmt.Fprintln(os.Stderr, "unreadable:", err, serr, string(spec))
		return 1
	}
	_ = main.Process.Kill()
	_ = main.Wait()
	if err := writeOld(dir, "ended.json", main.Process.Pid); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// writeOld writes status.json as the earlier version did.
func writeOld(dir, golden string, pid int) error {
	p, _ := instance.Inspect(pid)
	b, err := os.ReadFile(filepath.Join("testdata/protocol-1", golden))
	if err != nil {
		return err
	}
	text := strings.NewReplacer("@PID@", strconv.Itoa(pid), "@BOOT@", instance.BootID(), "@TICKS@", strconv.FormatUint(p.Ticks, 10)).Replace(string(b))
	path := filepath.Join(dir, "status.json")
	if err := os.WriteFile(path+".tmp", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(path+".tmp", path)
}

// ofEarlierVersion gives a node an instance that a shim of protocol 1 holds.
func (n *node) ofEarlierVersion() (dir instance.Dir, shim *exec.Cmd) {
	n.t.Helper()
	n.stop() // an agent that is started afterwards finds it
	defer n.agent()
	dir = instance.Dir(filepath.Join(n.data, "run/app/0123456789ab"))
	for _, d := range []string{string(dir), filepath.Join(n.data, "apps/app/files/etc")} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			n.t.Fatal(err)
		}
	}
	b, err := os.ReadFile("testdata/protocol-1/spec.json")
	if err != nil {
		n.t.Fatal(err)
	}
	put(n.t, dir.Spec(), strings.NewReplacer("@DATA@", n.data, "@CGROUP@", n.cgroup).Replace(string(b)), 0o600)
	shim = exec.Command(os.Args[0])
	shim.Env = append(os.Environ(), shimEnv+"="+string(dir))
	shim.Stderr = os.Stderr
	out, err := shim.StdoutPipe()
	if err == nil {
		err = shim.Start()
	}
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = shim.Process.Kill(); _ = shim.Wait() })
	if _, err := out.Read(make([]byte, 8)); err != nil {
		n.t.Fatal("the earlier shim did not come up: ", err)
	}
	return dir, shim
}

// An agent lives with the shims of an earlier version.
func TestProtocol_EarlierShim(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	n.ofEarlierVersion()
	st := n.get("app")
	if st.State != workload.Running || !alive(st.PID) || st.Hash != "5d52a46f3c2af701" || st.Error != "" {
		t.Fatalf("%+v", st)
	}
	n.restart()
	if got := n.get("app"); got.PID != st.PID || got.State != workload.Running {
		t.Errorf("after another restart: %+v", got)
	}
	req, err := instance.Dir(filepath.Join(n.data, "run/app/0123456789ab")).ReadRequest()
	if err != nil {
		t.Fatal(err)
	}
	s := req.Spec
	s.Hash, s.Reload, s.Files[0].Content = "h2", "none", "two"
	if got, err := n.Reload(t.Context(), s); err != nil || got.Hash != "h2" || got.PID != st.PID {
		t.Errorf("reload: %+v %v", got, err)
	}
	got, err := n.Stop(t.Context(), "app", time.Second)
	if err != nil || got.State != workload.Exited || got.Signal != "SIGKILL" || alive(st.PID) {
		t.Errorf("stop: %+v %v, alive %v", got, err, alive(st.PID))
	}
	// The next one is of this version.
	s.Hash = "h3"
	n.start(s)
	if v, err := instance.Dir(filepath.Join(n.data, "run/app", n.get("app").Instance)).ReadRecord(); err != nil || v.Protocol != 2 { // which is enough to say it
		t.Errorf("%+v %v", v, err)
	}
}

// What a later version holds is listed and left alone.
func TestProtocol_LaterShim(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	dir, shim := n.ofEarlierVersion()
	st := n.get("app")
	if err := dir.WriteRecord(instance.Record{Protocol: instance.Protocol + 1}); err != nil {
		t.Fatal(err)
	}
	put(t, dir.Spec(), fmt.Sprintf(`{"protocol":%d,"something":"else"}`, instance.Protocol+1), 0o600)
	n.restart()
	got := n.get("app")
	if got.State != workload.Running || got.Instance != "0123456789ab" || !strings.Contains(got.Error, fmt.Sprint("protocol ", instance.Protocol+1)) {
		t.Errorf("%+v", got)
	}
	s := workload.Spec{Name: "app", Mode: "host", Command: []string{"sleep", "1"}}
	_, start := n.Start(t.Context(), s)
	_, stop := n.Stop(t.Context(), "app", 0)
	_, reload := n.Reload(t.Context(), s)
	_, usage := n.Usage("app")
	for what, err := range map[string]error{"start": start, "stop": stop, "reload": reload, "usage": usage, "remove": n.Remove(t.Context(), "app")} {
		if !errors.Is(err, workload.ErrForeign) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := os.Stat(dir.Spec()); err != nil || !alive(st.PID) || !alive(shim.Process.Pid) {
		t.Errorf("it was not left alone: %v, workload %v, shim %v", err, alive(st.PID), alive(shim.Process.Pid))
	}
	_ = shim.Process.Kill()
	_ = shim.Wait()
	_ = syscall.Kill(st.PID, syscall.SIGKILL)
	// What it leaves is anybody's.
	if got := n.get("app"); got.State != workload.Failed {
		t.Errorf("after its end: %+v", got)
	}
	n.start(s)
}
