package slot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// source makes the programs of a version.
func source(t *testing.T, version, text string) Source {
	t.Helper()
	dir := t.TempDir()
	s := Source{Agent: filepath.Join(dir, Agent), Shim: filepath.Join(dir, Shim)}
	for _, p := range []string{s.Agent, s.Shim} {
		if err := os.WriteFile(p, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	hash, err := HashOf(s.Agent, s.Shim)
	if err != nil {
		t.Fatal(err)
	}
	s.Manifest = Manifest{Version: version, Hash: hash}
	return s
}

func install(t *testing.T, d *Dir, version, text string) string {
	t.Helper()
	n, err := d.Install(source(t, version, text))
	if err != nil {
		t.Fatal(err)
	}
	if err := Usable(d.Version(n)); err != nil {
		t.Fatal(err)
	}
	return n
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestLinks(t *testing.T) {
	d := At(t.TempDir())
	one, two := install(t, d, "1", "one"), install(t, d, "2", "two")
	expect := func(when, current, old, fresh, broken string) {
		t.Helper()
		for l, want := range map[Link]string{Current: current, Old: old, New: fresh, Broken: broken} {
			if got := d.Target(l); got != want {
				t.Errorf("%s: %s is %q, want %q", when, l, got, want)
			}
		}
	}
	v := d.Version
	must(t, d.Stage(one))
	expect("staged", "", "", v(one), "")
	must(t, d.Commit("/factory"))
	expect("committed", v(one), "/factory", "", "")
	must(t, d.Stage(two))
	must(t, d.Reject())
	expect("rejected", v(one), "/factory", "", v(two))
	must(t, d.Stage(two))
	must(t, d.Commit("/factory"))
	expect("kept", v(two), v(one), "", v(two))
	must(t, d.Return())
	expect("returned", v(one), "", "", v(two))
	must(t, d.Stage(one)) // what is current already needs no other place
	must(t, d.Commit("/factory"))
	expect("the same", v(one), "", "", v(two))
	must(t, d.Stage(two))
	must(t, d.Abandon())
	must(t, d.Abandon())
	expect("abandoned", v(one), "", "", v(two))
	must(t, d.Factory())
	expect("factory", "", "", "", v(one))
	// Links stay valid when all of it moves.
	to, err := os.Readlink(filepath.Join(d.Path, string(Broken)))
	if err != nil || filepath.IsAbs(to) {
		t.Errorf("link to %q, %v", to, err)
	}
}

func TestInstall(t *testing.T) {
	d := At(t.TempDir())
	one := install(t, d, "1.0+x", "one")
	other := install(t, d, "1.0+x", "other")
	if one == other {
		t.Fatal("two programs of one version share a directory")
	}
	info, err := os.Stat(filepath.Join(d.Version(one), Agent))
	must(t, err)
	if again := install(t, d, "1.0+x", "one"); again != one {
		t.Errorf("installed again as %s", again)
	}
	if now, err := os.Stat(filepath.Join(d.Version(one), Agent)); err != nil || !os.SameFile(info, now) {
		t.Error("what was there and whole was written again")
	}
	// A damaged one is.
	must(t, os.WriteFile(filepath.Join(d.Version(one), Agent), []byte("rotten"), 0o755))
	install(t, d, "1.0+x", "one")
	if h, err := HashOf(filepath.Join(d.Version(one), Agent), filepath.Join(d.Version(one), Shim)); err != nil || !strings.HasPrefix(strings.TrimPrefix(h, "sha256:"), one[len("1.0+x-"):]) {
		t.Errorf("hash %s, %v, in %s", h, err, one)
	}
	for _, bad := range []string{"", "../x", "a/b", "-x", strings.Repeat("1", 200)} {
		if _, err := d.Install(source(t, bad, "bad")); err == nil {
			t.Errorf("version %q was installed", bad)
		}
	}
	changed := source(t, "2", "two")
	must(t, os.WriteFile(changed.Agent, []byte("three"), 0o755))
	if _, err := d.Install(changed); err == nil || !strings.Contains(err.Error(), "changed") {
		t.Errorf("programs that are not those of the manifest: %v", err)
	}

	must(t, d.Stage(one))
	must(t, os.Mkdir(d.Version("left.tmp"), 0o755))
	must(t, d.Collect())
	left, err := os.ReadDir(filepath.Join(d.Path, versions))
	if err != nil || len(left) != 1 || left[0].Name() != one {
		t.Errorf("left after collecting: %v, %v", left, err)
	}
}

func TestRecords(t *testing.T) {
	d := At(t.TempDir())
	must(t, d.SetStarts(Starts{Target: "/a", Trial: true, Starts: 2}))
	if s := d.Starts("/a", true); s.Starts != 2 {
		t.Errorf("%+v", s)
	}
	for _, s := range []Starts{d.Starts("/b", true), d.Starts("/a", false)} {
		if s.Starts != 0 {
			t.Errorf("counted for another: %+v", s)
		}
	}
	must(t, os.WriteFile(filepath.Join(d.Path, "starts.json"), []byte(`{"target":"/a","tri`), 0o600))
	if s := d.Starts("/a", true); s.Starts != 0 || s.Target != "/a" || !s.Trial {
		t.Errorf("a damaged record: %+v", s)
	}
	var all []Failed
	for i := range 40 {
		all = append(all, Failed{Hash: strings.Repeat("x", i+1)})
	}
	must(t, d.SetFailed(all))
	if got := d.Failed(); len(got) != maxFailed || got[maxFailed-1].Hash != all[39].Hash {
		t.Errorf("%d failures remembered", len(got))
	}
	must(t, os.WriteFile(d.CrashFile(), []byte("panic: because\n\ngoroutine 1"), 0o600))
	if got := d.TakeCrash(); !strings.HasPrefix(got, "panic: because") {
		t.Errorf("last words %q", got)
	}
	if got := d.TakeCrash(); got != "" {
		t.Errorf("said twice: %q", got)
	}
	t.Setenv(Env, `{"protocol":1,"data":"/d","trial":2}`)
	l, err := Launched()
	if err != nil || l.Trial != 2 || os.Getenv(Env) != "" {
		t.Errorf("%+v, %v, %q left", l, err, os.Getenv(Env))
	}
	for _, bad := range []string{"x", "{}"} {
		t.Setenv(Env, bad)
		if _, err := Launched(); err == nil {
			t.Errorf("%q was understood", bad)
		}
	}
}
