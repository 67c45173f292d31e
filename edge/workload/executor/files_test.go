package executor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"gnomon/edge/workload"
	"gnomon/schema"
)

// withPackage is a component with configuration in it: the root file system for a
// container, a package of its own otherwise.
func (n *node) withPackage(s *workload.Spec) {
	n.t.Helper()
	if s.Mode != schema.ModeContainer {
		s.Root = n.t.TempDir()
	}
	for name, content := range map[string]string{"conf/a.conf": "from a\n", "conf/sub/b.conf": "from b\n"} {
		path := filepath.Join(s.Root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			n.t.Fatal(err)
		}
		put(n.t, path, content, 0o644)
	}
	if err := os.Symlink("a.conf", filepath.Join(s.Root, "conf/link.conf")); err != nil {
		n.t.Fatal(err)
	}
}

func TestFiles_FromTheComponentAndReadOnly(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec(`cd $GNOMON_FILES/; cat tmp/one tmp/all/sub/b.conf tmp/all/link.conf
			(echo mine >> tmp/one) && echo "one is mine"; (echo mine > tmp/all/sub/new) && echo "all is mine"
			(echo mine >> tmp/inline) || echo "inline is read-only"; (echo mine > tmp/ro/a.conf) || echo "directory is read-only"
			cat tmp/inline; stat -c 'mode %a' tmp/one tmp/other; echo over; sleep 1000`)
		n.withPackage(&s)
		s.User = "1234:1235"
		s.Files = []schema.File{
			{Path: "/tmp/one", From: "conf/a.conf"}, {Path: "/tmp/all", From: "conf"}, {Path: "/tmp/ro", From: "conf", ReadOnly: true},
			{Path: "/tmp/inline", Content: "held inline\n", ReadOnly: true}, {Path: "/tmp/other", From: "conf/a.conf", Mode: "0600"},
		}
		n.start(s)
		log := n.logs("app", "over")
		for _, want := range []string{"from a\nfrom b\nfrom a\n", "one is mine", "all is mine", "inline is read-only", "directory is read-only", "held inline\nmode 644\nmode 600"} {
			if !strings.Contains(log, want) {
				t.Errorf("log lacks %q:\n%s", want, log)
			}
		}
		if b, _ := os.ReadFile(filepath.Join(s.Root, "conf/a.conf")); string(b) != "from a\n" {
			t.Errorf("the component was written to: %q", b)
		}
	})
}

func TestFiles_WhatIsNotThereIsRefused(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec("sleep 1000")
		n.withPackage(&s)
		if err := os.Symlink("/etc/passwd", filepath.Join(s.Root, "out")); err != nil {
			t.Fatal(err)
		}
		for _, from := range []string{"nothing", "../x", "out"} {
			s.Files = []schema.File{{Path: "/tmp/x", From: from}}
			if _, err := n.Start(t.Context(), s); !errors.Is(err, workload.ErrInvalid) || !strings.Contains(err.Error(), "run.files") {
				t.Errorf("%s: %v", from, err)
			}
		}
		for i := range workload.MaxFromEntries + 1 {
			put(t, filepath.Join(s.Root, "conf", fmt.Sprint(i)), "", 0o644)
		}
		s.Files = []schema.File{{Path: "/tmp/x", From: "conf"}}
		if _, err := n.Start(t.Context(), s); !errors.Is(err, workload.ErrInvalid) || !strings.Contains(err.Error(), "1024") {
			t.Errorf("too many: %v", err)
		}
	})
}

// The files of a running program are replaced, each as a whole, and it is told.
func TestReload_InPlace(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec(`trap 'echo "told: $(cat $GNOMON_FILES/tmp/a)"' HUP; echo up; while true; do [ "$(wc -c < $GNOMON_FILES/tmp/a)" = 6 ] || echo torn; sleep 0.01; done`)
		s.Reload = schema.ReloadHUP
		s.Files = []schema.File{{Path: "/tmp/a", Content: "first\n"}, {Path: "/tmp/b", Content: "stays", ReadOnly: true}}
		st := n.start(s)
		n.logs("app", "up")
		for i := range 20 {
			s.Hash, s.Files[0].Content = fmt.Sprint("h", i+2), fmt.Sprintf("new%02d\n", i)
			got, err := n.Reload(t.Context(), s)
			if err != nil || got.PID != st.PID || got.Instance != st.Instance || got.Hash != s.Hash {
				t.Fatalf("%+v %v", got, err)
			}
			n.logs("app", fmt.Sprintf("told: new%02d", i))
		}
		if strings.Contains(n.log("app"), "torn") {
			t.Error("half a file was seen")
		}
		n.restart()
		if got := n.get("app"); got.Hash != s.Hash || got.PID != st.PID {
			t.Errorf("after a restart of the agent: %+v", got)
		}
		b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", st.PID))
		if c := strings.Count(string(b), " /tmp/a "); s.Mode != schema.ModeHost && c != 1 {
			t.Errorf("%d mounts are left at the file", c)
		}
		other := s
		other.Env = []string{"A=1"}
		if _, err := n.Reload(t.Context(), other); !errors.Is(err, workload.ErrInvalid) {
			t.Errorf("another environment: %v", err)
		}
		if _, err := n.Stop(t.Context(), "app", 0); err != nil {
			t.Fatal(err)
		}
		if got := n.get("app"); got.Hash != s.Hash || got.State != workload.Exited {
			t.Errorf("after the end: %+v", got)
		}
		if target := n.get("target"); target.Name != "" {
			b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", target.PID))
			if strings.Contains(string(b), " /tmp/a ") || strings.Contains(string(b), " /tmp/b ") {
				t.Errorf("mounts are left in the target:\n%s", b)
			}
		}
		if _, err := n.Reload(t.Context(), s); err == nil {
			t.Error("what has ended was reloaded")
		}
		// What starts anew has the new content.
		n.start(s)
		n.logs("app", "up")
	})
}

// Under an init it is the program that has to handle the signal, whoever else the
// init has taken in.
func TestReload_UnderAnInit(t *testing.T) {
	t.Parallel()
	n := newNode(t)
	s := n.spec(schema.ModeContainer, "app", `(sleep 1000 & echo left) ; trap 'echo "told: $(cat $GNOMON_FILES/tmp/a)"' HUP; echo up; while true; do sleep 0.01; done`)
	s.Init, s.Reload = true, schema.ReloadHUP
	s.Files = []schema.File{{Path: "/tmp/a", Content: "first"}}
	st := n.start(s)
	n.logs("app", "up")
	s.Hash, s.Files[0].Content = "h2", "second"
	if got, err := n.Reload(t.Context(), s); err != nil || got.PID != st.PID {
		t.Fatalf("%+v %v", got, err)
	}
	n.logs("app", "told: second")
}

// A program that doesn't handle the signal would end by it: it isn't sent.
func TestReload_NotHandled(t *testing.T) {
	inEachMode(t, func(t *testing.T, n *node, spec func(string) workload.Spec) {
		s := spec("exec sleep 1000")
		s.Reload = schema.ReloadUSR1
		s.Files = []schema.File{{Path: "/tmp/a", Content: "1"}}
		st := n.start(s)
		s.Hash, s.Files[0].Content = "h2", "2"
		if _, err := n.Reload(t.Context(), s); err == nil || !strings.Contains(err.Error(), "does not handle SIGUSR1") {
			t.Errorf("%v", err)
		}
		if got := n.get("app"); got.Hash != "h1" || got.PID != st.PID || got.State != workload.Running {
			t.Errorf("%+v", got)
		}
		s.Reload = schema.ReloadNone
		if got, err := n.Reload(t.Context(), s); err != nil || got.Hash != "h2" || got.PID != st.PID {
			t.Errorf("%+v %v", got, err)
		}
	})
}

// From a document to the running program, and to another instance where the
// program can't be told.
func TestReload_OfADocument(t *testing.T) {
	for _, mode := range modes {
		t.Run(string(mode), func(t *testing.T) {
			t.Parallel()
			s := newStation(t)
			if mode == schema.ModeAttach {
				s.runs("target", s.want("target", s.document(schema.ModeContainer, "sleep 1000", nil)))
			}
			run := func(content string) map[string]any {
				return map[string]any{"reload": "SIGHUP", "files": []map[string]any{{"path": "/tmp/a", "content": content}}}
			}
			const script = `trap 'echo "told: $(cat $GNOMON_FILES/tmp/a)"' HUP; echo "up: $(cat $GNOMON_FILES/tmp/a)"; while true; do sleep 0.02; done`
			st := s.runs("app", s.want("app", s.document(mode, script, run("one"))))
			got := s.runs("app", s.want("app", s.document(mode, script, run("two"))))
			if s.logs("app", "told: two"); got.PID != st.PID || got.Instance != st.Instance {
				t.Errorf("%+v, before %+v", got, st)
			}
			const deaf = `echo "up: $(cat $GNOMON_FILES/tmp/a)"; while true; do sleep 0.02; done`
			st = s.runs("app", s.want("app", s.document(mode, deaf, run("three"))))
			s.logs("app", "up: three")
			got = s.runs("app", s.want("app", s.document(mode, deaf, run("four"))))
			if s.logs("app", "up: four"); got.Instance == st.Instance {
				t.Errorf("it never heard of the change: %+v", got)
			}
		})
	}
}
