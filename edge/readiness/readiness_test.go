package readiness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var now = time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)

// fine is a node that could go on.
func fine() Facts {
	return Facts{
		Now: now, Complete: true, Images: 2, Policies: 1, Until: now.Add(365 * 24 * time.Hour),
		Disk:    &DiskFacts{Free: 50 << 30, Size: 100 << 30, Reserve: 64 << 20, Below: 15 << 30, Inodes: 1000, FreeInodes: 500},
		Clock:   &ClockFacts{Earliest: now.Add(-time.Hour), Synchronised: true},
		Startup: &StartupFacts{Configured: true, By: "gnomon-edge.service"},
	}
}

func TestAssess(t *testing.T) {
	for what, c := range map[string]struct {
		change func(*Facts)
		check  string
		level  Level
		says   string
	}{
		"images":           {func(*Facts) {}, Images, OK, "2 components are needed and unpacked"},
		"one image":        {func(f *Facts) { f.Images = 1 }, Images, OK, "1 component is needed and unpacked"},
		"no image":         {func(f *Facts) { f.Images = 0 }, Images, OK, "no component is needed"},
		"missing":          {func(f *Facts) { f.Missing, f.Packed = []string{"d@1", "b@1", "a@1", "c@1", "e@1"}, []string{"x@1"} }, Images, Bad, "a@1, b@1, c@1 and 2 more cannot be found"},
		"packed":           {func(f *Facts) { f.Packed = []string{"x@1"} }, Images, Warn, "x@1 is here, but not unpacked yet"},
		"policies":         {func(*Facts) {}, Policies, OK, "1 collection policy is on disk"},
		"no policies":      {func(f *Facts) { f.Policies = 0 }, Policies, OK, "no collection policy is wanted"},
		"store":            {func(*Facts) {}, Store, OK, "every record checks out"},
		"set aside":        {func(f *Facts) { f.SetAside = 2 }, Store, Warn, "2 records did not check out and came again"},
		"set aside, alone": {func(f *Facts) { f.SetAside, f.Complete = 1, false }, Store, Bad, "1 record did not check out, and the cloud has not been asked"},
		"not written":      {func(f *Facts) { f.StoreFault = "no space" }, Store, Bad, "cannot be written: no space"},
		"credentials":      {func(*Facts) {}, Credentials, OK, "valid until 2027-06-01"},
		"ending":           {func(f *Facts) { f.Until = now.Add(24 * time.Hour) }, Credentials, Warn, "they end on 2026-06-02"},
		"ended":            {func(f *Facts) { f.Until = now.Add(-24 * time.Hour) }, Credentials, Bad, "they ended on 2026-05-31"},
		"disk":             {func(*Facts) {}, Disk, OK, "there is room"},
		"little room":      {func(f *Facts) { f.Disk.Free = 10 << 30 }, Disk, Warn, "less than 15360 MiB is free"},
		"no room":          {func(f *Facts) { f.Disk.Free = 1 << 20 }, Disk, Bad, "less than the reserve of 64 MiB"},
		"no inodes":        {func(f *Facts) { f.Disk.FreeInodes = 10 }, Disk, Bad, "less than 2% of inodes"},
		"read-only":        {func(f *Facts) { f.Disk.ReadOnly = true }, Disk, Bad, "read-only"},
		"clock":            {func(*Facts) {}, Clock, OK, "kept right"},
		"free clock":       {func(f *Facts) { f.Clock.Synchronised = false }, Clock, Warn, "nothing keeps it right"},
		"wrong clock":      {func(f *Facts) { f.Clock.Earliest = now.Add(24 * time.Hour) }, Clock, Bad, "before 2026-06-02"},
		"startup":          {func(*Facts) {}, Startup, OK, "started at boot by gnomon-edge.service"},
		"no startup":       {func(f *Facts) { f.Startup = &StartupFacts{By: "x"} }, Startup, Warn, "nothing was found that starts the agent"},
	} {
		t.Run(what, func(t *testing.T) {
			f := fine()
			c.change(&f)
			r := Assess(f)
			if r.Level != c.level {
				t.Errorf("the whole is %s, want %s", r.Level, c.level)
			}
			for _, got := range r.Checks {
				if got.Name != c.check {
					if got.Level != OK {
						t.Errorf("%s is %s as well: %s", got.Name, got.Level, got.Message)
					}
				} else if got.Level != c.level || !strings.Contains(got.Message, c.says) {
					t.Errorf("%s: %s, want %s: %s", got.Level, got.Message, c.level, c.says)
				}
			}
		})
	}
	if n := len(Assess(fine()).Checks); n != 7 {
		t.Errorf("%d checks", n)
	}
	if n := len(Assess(Facts{}).Checks); n != 3 { // what isn't known isn't checked
		t.Errorf("%d checks of nothing", n)
	}
}

func TestLookAtStartup(t *testing.T) {
	for what, c := range map[string]struct {
		files map[string]string
		by    string
		ok    bool
	}{
		"nothing":         {nil, "gnomon-edge.service is not enabled", false},
		"enabled":         {map[string]string{"etc/systemd/system/multi-user.target.wants/gnomon-edge.service": ""}, "gnomon-edge.service", true},
		"another service": {map[string]string{"proc/self/cgroup": "0::/system.slice/edge@1.service\n", "etc/systemd/system/multi-user.target.wants/gnomon-edge.service": ""}, "edge@1.service is not enabled", false},
		"a user's":        {map[string]string{"proc/self/cgroup": "0::/user.slice/user@0.service/x\n", "usr/lib/systemd/system/multi-user.target.wants/gnomon-edge.service": ""}, "gnomon-edge.service", true},
		"its own":         {map[string]string{"proc/self/cgroup": "1:name=systemd:/system.slice/edge.service\n", "lib/systemd/system/x.target.requires/edge.service": ""}, "edge.service", true},
		"init script":     {map[string]string{"etc/rc3.d/S20gnomon-edge": ""}, "/etc/rc3.d/S20gnomon-edge", true},
	} {
		root := t.TempDir()
		for name, text := range c.files {
			path := filepath.Join(root, name)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got := LookAtStartup(root); got.Configured != c.ok || !strings.Contains(got.By, c.by) {
			t.Errorf("%s: %+v, want %v by %s", what, got, c.ok, c.by)
		}
	}
}

func TestLookAtClock(t *testing.T) {
	if f := LookAtClock(); f.Earliest.Before(firstRelease) || f.Earliest.After(time.Now().Add(24*time.Hour)) {
		t.Errorf("%+v", f)
	}
}
