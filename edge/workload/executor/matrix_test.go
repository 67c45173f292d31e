package executor_test

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// trial shows that an option takes effect in a mode in which it may be set, or
// what is to be set where it may not.
type trial struct {
	run    map[string]any           // members of run that set the option
	spec   func(*workload.Spec)     // the same for the executor alone, where it is refused
	script string                   // of the application
	shows  func(*testing.T, *scene) // that it took effect
}

// scene is one cell of the matrix being tried.
type scene struct {
	*station
	mode    schema.Mode
	version uint64
	was     workload.Status // of the target, before the application was wanted
}

// cell is an option in a mode.
type cell struct {
	option schema.Option
	mode   schema.Mode
}

// everywhere gives an option the same kinds of trials in all modes.
func everywhere(t *testing.T, all map[cell][]trial, o schema.Option, trials ...func(*testing.T) trial) {
	for _, m := range schema.Modes {
		for _, makes := range trials {
			all[cell{o, m}] = append(all[cell{o, m}], makes(t))
		}
	}
}

// cells are the trials of every cell of schema.Matrix.
func cells(t *testing.T) map[cell][]trial {
	all := map[cell][]trial{}
	everywhere(t, all, schema.OptionEnvironment, environment)
	everywhere(t, all, schema.OptionPorts, ports)
	everywhere(t, all, schema.OptionRestart, restarted, exhausted)
	everywhere(t, all, schema.OptionFiles, files)
	everywhere(t, all, schema.OptionResources, throttled, outOfMemory, outOfProcesses)
	everywhere(t, all, schema.OptionNetwork, ownNetwork)
	everywhere(t, all, schema.OptionDNS, dns)
	everywhere(t, all, schema.OptionDevices, devices)
	everywhere(t, all, schema.OptionCapabilities, capabilities)
	everywhere(t, all, schema.OptionReadOnly, readOnly)
	everywhere(t, all, schema.OptionUsers, ownUsers)
	everywhere(t, all, schema.OptionInit, withInit)
	everywhere(t, all, schema.OptionVolumes, volumes)
	everywhere(t, all, schema.OptionTimezone, zoned)
	everywhere(t, all, schema.OptionLog, logged)
	everywhere(t, all, schema.OptionHostname, hostname)
	everywhere(t, all, schema.OptionPrivileged, privileged)
	everywhere(t, all, schema.OptionSerial, serial)
	everywhere(t, all, schema.OptionArgs, args)
	everywhere(t, all, schema.OptionCommand, command)
	return all
}

// Every option in every mode does on real processes what the matrix says.
func TestMatrix(t *testing.T) {
	all := cells(t)
	for _, row := range schema.Matrix {
		for _, mode := range schema.Modes {
			for i, tr := range all[cell{row.Option, mode}] {
				t.Run(fmt.Sprintf("%s/%s/%d", row.Option, mode, i), func(t *testing.T) {
					t.Parallel()
					try(t, row, mode, tr, nil)
				})
			}
		}
	}
}

// Nor does it matter to any of them whether the container has users of its own.
func TestMatrix_WithOwnUsers(t *testing.T) {
	all := cells(t)
	users := map[string]any{"userNamespace": schema.UserNamespaceAuto}
	for _, row := range schema.Matrix {
		for _, mode := range []schema.Mode{schema.ModeContainer, schema.ModeAttach} {
			if row.Option == schema.OptionPrivileged || row.Option == schema.OptionUsers || !row.Support[mode].Allowed() {
				continue
			}
			for i, tr := range all[cell{row.Option, mode}] {
				t.Run(fmt.Sprintf("%s/%s/%d", row.Option, mode, i), func(t *testing.T) {
					t.Parallel()
					try(t, row, mode, tr, users)
				})
			}
		}
	}
}

// No option can be added to the matrix, nor to run, without being tried here.
func TestMatrix_EveryCellIsTried(t *testing.T) {
	all := cells(t)
	rows := map[string]bool{}
	for _, row := range schema.Matrix {
		rows[row.Path] = true
		for _, mode := range schema.Modes {
			if _, said := row.Support[mode]; !said {
				t.Errorf("the matrix doesn't say what %s means in mode %s", row.Option, mode)
			}
			if len(all[cell{row.Option, mode}]) == 0 {
				t.Errorf("%s in mode %s is not tried", row.Option, mode)
			}
		}
	}
	// These mean the same everywhere, and are tried elsewhere.
	for _, same := range []string{"user", "dir", "stopGrace", "health", "reload"} {
		rows["run."+same] = true
	}
	run := reflect.TypeFor[schema.Run]()
	for i := range run.NumField() {
		if path := "run." + run.Field(i).Tag.Get("json"); !rows[path] {
			t.Errorf("%s is in no row of the matrix", path)
		}
	}
}

// try tries one cell. The container has further members of run.
func try(t *testing.T, row schema.Row, mode schema.Mode, tr trial, container map[string]any) {
	s := &scene{station: newStation(t), mode: mode}
	if mode == schema.ModeAttach {
		s.was = s.runs("target", s.want("target", s.document(schema.ModeContainer, "trap 'exit 0' TERM; while true; do sleep 0.05; done", container)))
	}
	if !row.Support[mode].Allowed() {
		s.refuses(row, tr)
		return
	}
	run := maps.Clone(tr.run)
	if mode == schema.ModeContainer {
		maps.Copy(run, container)
	}
	s.version = s.want("app", s.document(mode, tr.script, run))
	tr.shows(t, s)
	if mode != schema.ModeAttach {
		return
	}
	rebuilt := s.get("target").Instance != s.was.Instance
	switch {
	case row.Support[mode] != schema.Rebuild && rebuilt:
		t.Errorf("the container was rebuilt: %+v, before %+v", s.get("target"), s.was)
	case row.Support[mode] == schema.Rebuild && !rebuilt && row.Option != schema.OptionFiles:
		// Files are mounted into the running container.
		t.Error("the container was not rebuilt")
	}
	if st := s.get("target"); st.State != workload.Running {
		t.Errorf("the container's own application is %+v", st)
	}
}

// refuses checks that an option is refused by name, both in a document and by the
// executor, and that nothing runs.
func (s *scene) refuses(row schema.Row, tr trial) {
	s.t.Helper()
	s.want("app", s.document(s.mode, "sleep 1000", tr.run))
	r := s.says("app", "that it is refused", func(r report) bool { return r.phase() == "failed" })
	for _, part := range []string{row.Path, string(s.mode), row.Support[s.mode].String(), row.Reason} {
		if !strings.Contains(r.text("error", "message"), part) {
			s.t.Errorf("error %q lacks %q", r.text("error", "message"), part)
		}
	}
	spec := s.spec(s.mode, "direct", "sleep 1000")
	tr.spec(&spec)
	_, err := s.Start(s.t.Context(), spec)
	if !errors.Is(err, workload.ErrUnsupported) || !strings.Contains(fmt.Sprint(err), row.Path) {
		s.t.Errorf("the executor says %v", err)
	}
	for _, name := range []string{"app", "direct"} {
		if s.get(name).State.Live() || s.group(name).Exists() {
			s.t.Errorf("something was started: %+v", s.get(name))
		}
	}
}

func environment(*testing.T) trial {
	return trial{
		run:    map[string]any{"env": map[string]string{"COLOUR": "blue"}},
		script: `echo "colour=$COLOUR"; sleep 1000`,
		shows:  func(_ *testing.T, s *scene) { s.logs("app", "colour=blue") },
	}
}

func args(*testing.T) trial {
	return trial{
		run:    map[string]any{"args": []string{"zero", "one", "two words"}},
		script: `echo "$0/$1/$2"; sleep 1000`,
		shows:  func(_ *testing.T, s *scene) { s.logs("app", "zero/one/two words") },
	}
}

func command(*testing.T) trial {
	return trial{
		run:   map[string]any{"command": []string{"echo", "the program itself"}, "restart": map[string]any{"policy": "never"}},
		shows: func(_ *testing.T, s *scene) { s.logs("app", "the program itself") },
	}
}

// files shows what a file holds, who may read it, and that the node's own file of
// that path is left alone.
func files(*testing.T) trial {
	return trial{
		run:    map[string]any{"files": []map[string]any{{"path": "/etc/gnomon-test/a.conf", "content": "held inline\n", "mode": "0640"}}},
		script: `cat $GNOMON_FILES/etc/gnomon-test/a.conf; stat -c "mode %a" $GNOMON_FILES/etc/gnomon-test/a.conf; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "mode"); !strings.Contains(log, "held inline\nmode 640\n") {
				t.Errorf("log:\n%s", log)
			}
			if _, err := os.Lstat("/etc/gnomon-test"); err == nil {
				t.Error("a file of the node was written")
			}
		},
	}
}

func hostname(*testing.T) trial {
	return trial{
		run:    map[string]any{"hostname": "meterbox"},
		spec:   func(s *workload.Spec) { s.Hostname = "meterbox" },
		script: `echo "host=$(hostname)"; sleep 1000`,
		shows:  func(_ *testing.T, s *scene) { s.logs("app", "host=meterbox") },
	}
}

func privileged(*testing.T) trial {
	return trial{
		run:    map[string]any{"privileged": true},
		spec:   func(s *workload.Spec) { s.Privileged = true },
		script: `grep -E 'NoNewPrivs|CapEff' /proc/self/status; ls /dev/kmsg && echo over; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "over"); !strings.Contains(log, "NoNewPrivs:\t0") || strings.Contains(log, "00000000a80425fb") {
				t.Errorf("log:\n%s", log)
			}
		},
	}
}

// serial maps a character device that no container has otherwise, under the name
// of a link, as ports are in /dev/serial/by-id. The node's log can be opened for
// writing by everybody who is let near it.
func serial(t *testing.T) trial {
	link := filepath.Join("/dev", fmt.Sprintf("gnomon-matrix-%d", os.Getpid()))
	if err := os.Symlink("/dev/kmsg", link); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.Remove(link) })
	return trial{
		run:    map[string]any{"serial": []string{link}},
		spec:   func(s *workload.Spec) { s.Serial = []string{link} },
		script: `mknod /tmp/own c 4 64; (: < /tmp/own) || echo "no other"; (: > ` + link + `) && echo "opened $(stat -c %t:%T ` + link + `)"; sleep 1000`,
		shows: func(t *testing.T, s *scene) {
			if log := s.logs("app", "opened 1:b"); !strings.Contains(log, "no other") {
				t.Errorf("a device was opened that wasn't asked for:\n%s", log)
			}
		},
	}
}
