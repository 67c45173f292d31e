package faults

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// idle does nothing, in one process that never changes.
const idle = `"command":["sleep","100000000"]`

// The modes, and what an application that suffers is called in each.
var modes = []string{"container", "host", "attach"}

// suffering is what is desired of the application that suffers. round tells one
// version of it from another.
func (r *rig) suffering(mode string, round int) string {
	return r.application(mode, fmt.Sprintf(`%s,"env":{"ROUND":"%d"},"restart":{"backoff":"200ms"}`, idle, round))
}

// reloading is one whose files change while it runs.
func (r *rig) reloading(round int) string {
	return r.application("container", fmt.Sprintf(`%s,"files":[{"path":"/etc/round","content":"%d"}],"reload":"none"`, idle, round))
}

// taking is one of which an instance takes over from another, without a gap. does is
// what it does; each round is another.
func (r *rig) taking(mode, strategy string, round int, does string) string {
	run := fmt.Sprintf(`"command":["sh","-c",%q],"env":{"ROUND":"%d"},"restart":{"backoff":"200ms"}`, does, round)
	return strings.Replace(r.application(mode, run), `{`, fmt.Sprintf(`{"update":{"strategy":%q,"healthy":"300ms"},`, strategy), 1)
}

// packaged is one of the host that comes as a package; each round is another.
func (r *rig) packaged(round int) string {
	return fmt.Sprintf(`{"component":"file://%s","mode":"host","run":{"command":["idle","100000000"],"restart":{"backoff":"200ms"}}}`, r.packageFile(round))
}

func (r *rig) packageFile(round int) string {
	return filepath.Join(r.cfg.Dir, fmt.Sprintf("package-%d.tar", round))
}

// makePackages makes two packages of a program that does nothing.
func (r *rig) makePackages() error {
	for round := range 2 {
		root := filepath.Join(r.cfg.Dir, fmt.Sprintf("package-%d", round))
		if err := os.MkdirAll(filepath.Join(root, "bin"), 0o755); err != nil {
			return err
		}
		program := fmt.Sprintf("#!/bin/sh\n# round %d\nexec sleep \"$1\"\n", round)
		if err := os.WriteFile(filepath.Join(root, "bin/idle"), []byte(program), 0o755); err != nil {
			return err
		}
		if err := archive(r.packageFile(round), root, false); err != nil {
			return err
		}
	}
	return nil
}

// application is one in a mode, attached to the one called "ground" if that needs
// a container.
func (r *rig) application(mode, run string) string {
	switch mode {
	case "container":
		return fmt.Sprintf(`{"component":"file://%s","mode":"container","run":{%s}}`, r.rootfs, run)
	case "attach":
		return fmt.Sprintf(`{"mode":"attach","attachTo":"ground","run":{%s}}`, run)
	default:
		return fmt.Sprintf(`{"mode":"host","run":{%s}}`, run)
	}
}

// witnesses are there all the time, and nothing may happen to them.
func (r *rig) witnesses() map[string]string {
	return map[string]string{
		"witness":          fmt.Sprintf(`{"component":"file://%s","mode":"container","run":{%s,"resources":{"memory":"32Mi","pids":16}}}`, r.rootfs, idle),
		"witness-attached": fmt.Sprintf(`{"mode":"attach","attachTo":"witness","run":{%s}}`, idle),
		"witness-host":     fmt.Sprintf(`{"mode":"host","run":{%s}}`, idle),
	}
}
