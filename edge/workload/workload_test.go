package workload

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"gnomon/schema"
)

func TestExpand(t *testing.T) {
	env := []string{"A=1", "B=two", "A=last"}
	for in, want := range map[string]string{
		"": "", "plain": "plain", "$(A)": "last", "x$(B)y$(A)": "xtwoylast", "$$(A)": "$(A)", "$(NONE)": "$(NONE)",
		"$(A": "$(A", "$A": "$A", "$()": "$()", "a$$(B)b$(B)": "a$(B)btwo",
	} {
		if got := Expand(in, env); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

func TestMergeEnv_LastWins(t *testing.T) {
	got := MergeEnv([]string{"A=1", "B=2"}, []string{"A=3"}, []string{"C=4", "C=5"})
	if !slices.Equal(got, []string{"A=3", "B=2", "C=5"}) {
		t.Error(got)
	}
}

// Check must agree with the matrix, whatever that says.
func TestCheck_FollowsTheMatrix(t *testing.T) {
	for _, mode := range schema.Modes {
		for option, set := range map[schema.Option]func(*Spec){
			schema.OptionEnvironment: func(s *Spec) { s.Env = []string{"A=1"} },
			schema.OptionPorts:       func(s *Spec) { s.Ports = []schema.Port{{Host: 80, Container: 80}} },
			schema.OptionFiles:       func(s *Spec) { s.Files = []schema.File{{Path: "/a"}} },
			schema.OptionResources:   func(s *Spec) { s.Resources.Pids = 9 },
			schema.OptionHostname:    func(s *Spec) { s.Hostname = "x" },
			schema.OptionPrivileged:  func(s *Spec) { s.Privileged = true },
			schema.OptionSerial:      func(s *Spec) { s.Serial = []string{"/dev/ttyS1"} },
			schema.OptionArgs:        func(s *Spec) { s.Command = append(s.Command, "-x") },
		} {
			s := Spec{Name: "a", Mode: mode, Command: []string{"x"}}
			switch mode {
			case schema.ModeContainer:
				s.Root = "/r"
			case schema.ModeAttach:
				s.Target = "t"
			}
			if err := Check(s); err != nil {
				t.Fatal(err)
			}
			set(&s)
			err := Check(s)
			support := schema.SupportOf(option, mode)
			belongsToTarget := support == schema.Rebuild && option != schema.OptionFiles && option != schema.OptionPorts
			if want := !support.Allowed() || belongsToTarget; want != errors.Is(err, ErrUnsupported) {
				t.Errorf("%s in %s (%s): %v", option, mode, support, err)
			}
			if err != nil && !strings.Contains(err.Error(), "run."+string(option)) {
				t.Errorf("error does not name the option: %v", err)
			}
		}
	}
}

func TestCheck_RefusesContradictions(t *testing.T) {
	for name, alter := range map[string]func(*Spec){
		"name":       func(s *Spec) { s.Name = "A b" },
		"command":    func(s *Spec) { s.Command = nil },
		"NUL":        func(s *Spec) { s.Command = []string{"a\x00b"} },
		"env":        func(s *Spec) { s.Env = []string{"NOVALUE"} },
		"mode":       func(s *Spec) { s.Mode = "vm" },
		"root":       func(s *Spec) { s.Root = "rel" },
		"run.files":  func(s *Spec) { s.Files = []schema.File{{Path: "/a/../b"}} },
		"component":  func(s *Spec) { s.Root = "" },
		"attachTo":   func(s *Spec) { s.Target = "x" },
		"needs atta": func(s *Spec) { s.Mode = schema.ModeAttach },
	} {
		s := Spec{Name: "a", Mode: schema.ModeContainer, Root: "/r", Command: []string{"x"}}
		alter(&s)
		if err := Check(s); !errors.Is(err, ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
