package reconcile

import (
	"strconv"
	"time"

	"gnomon/edge/workload"
	"gnomon/schema"
	"gnomon/shadow"
)

// Memory is what the planner keeps of an application between passes and across
// restarts. Losing it costs a restart counter and a pause, never a process.
type Memory struct {
	Hash     string         // the run configuration that Attempts to Done are about
	Attempts int            // ends in a row that were failures
	Tries    int            // steps in a row that failed
	Until    time.Time      // the pause after the last failure
	Fault    *Fault         // the last failure
	Done     bool           // it ended and shall not be started again
	DoneBy   schema.Restart // what says so

	Restarts int    // by the restart policy
	Retry    bool   // the next start is one of them
	Seen     string // instance whose end is accounted for
	Halted   string // instance that was ended on purpose
	Sick     string // instance that was ended because it was unhealthy
	Boot     string // of the node, when the instance was last seen alive
	Exit     *Exit  // of the last instance that ended
	Applied  Applied

	Good      Applied  // the last one whose run configuration was committed
	Committed string   // App.Content of it
	Ran       string   // App.Hash that ran well last, where others add to Content
	Well      Well     // the instance that is watched until it is committed, or failures are forgotten
	Beside    Well     // the second of two instances, and since when there are two
	Withdrawn string   // the second of two instances that was ended on purpose
	Rejected  Rejected // gave way to Good
}

// Applied is the last desired section that took effect.
type Applied struct {
	Version uint64
	Desired *shadow.Value
}

// Fault is why an application isn't where it shall be.
type Fault struct {
	Code      string    `json:"code"`
	Message   string    `json:"message"`
	Retryable bool      `json:"retryable"` // it is tried again without a change of desired
	At        time.Time `json:"at,omitzero"`
	Step      StepKind  `json:"step,omitempty"` // that failed; "" when it is an instance that did
}

// Exit is how an instance ended.
type Exit struct {
	Code   int       `json:"code"`
	Signal string    `json:"signal,omitempty"`
	OOM    bool      `json:"oom,omitempty"`
	At     time.Time `json:"at,omitzero"`
}

// Codes of faults that keep an instance from ending.
const (
	codeStop   = string(Stop) + codeFailed
	codeRemove = string(Remove) + codeFailed
)

// The ends of the codes of steps that came to nothing, and of those that took
// longer than they may.
const (
	codeFailed  = "-failed"
	CodeTimeout = "-timeout"
)

// codeLost is the fault of an instance of which it isn't known how it ended.
const codeLost = "lost"

// cannotStop tells that ending it was tried in vain, so that nobody waits for it.
func (m Memory) cannotStop() bool {
	return m.Fault != nil && (m.Fault.Step == Stop || m.Fault.Step == Remove || m.Fault.Code == codeStop || m.Fault.Code == codeRemove)
}

// about returns the memory for a run configuration: failures of another one
// don't count.
func (m Memory) about(hash string) Memory {
	if m.Hash == hash {
		return m
	}
	m.Hash, m.Restarts, m.Well = hash, 0, Well{}
	return m.cleared()
}

// longestOfSteps bounds the pause after a step that failed.
const longestOfSteps = 5 * time.Minute

// within bounds the pause, so that a clock that was set back doesn't prolong it.
func (m Memory) within(now time.Time, longest time.Duration) Memory {
	if m.Fault != nil && m.Fault.Step != "" {
		longest = longestOfSteps
	}
	if most := now.Add(longest); m.Until.After(most) {
		m.Until = most
	}
	return m
}

// cleared forgets failures.
func (m Memory) cleared() Memory {
	m.Attempts, m.Tries, m.Until, m.Fault, m.Retry = 0, 0, time.Time{}, nil, false
	m.Done, m.DoneBy = false, schema.Restart{}
	return m
}

// ended accounts for an instance that isn't live any more, once.
func (m Memory) ended(st workload.Status, r schema.Restart, now time.Time) Memory {
	m.Seen = st.Instance
	m.Exit = exitOf(st)
	sick := m.Sick != "" && m.Sick == st.Instance // it was asked to end
	switch {
	case sick && r.Policy == schema.RestartNever: // the policy has changed since
		m.Done, m.DoneBy, m.Fault = true, r, m.illness(st, false, now)
		return m
	case sick:
	case r.Policy != schema.RestartAlways && m.Exit.clean():
		m.Done, m.DoneBy, m.Fault = true, r, nil
		return m
	case r.Policy == schema.RestartNever:
		m.Done, m.DoneBy, m.Fault = true, r, fault(st, false, now)
		return m
	}
	if !sick && !st.StartedAt.IsZero() && st.ExitedAt.Sub(st.StartedAt) >= r.BackoffReset.D() {
		m.Attempts = 0
	}
	m.Attempts++
	m.Retry = true
	if sick {
		m.Fault = m.illness(st, true, now)
	} else {
		m.Fault = fault(st, true, now)
	}
	if r.MaxRetries > 0 && m.Attempts > r.MaxRetries {
		m.Done, m.DoneBy, m.Fault.Retryable, m.Fault.Code = true, r, false, "retries-exhausted"
		return m
	}
	m.Until = now.Add(pause(m.Attempts, r.Backoff.D(), r.BackoffMax.D()))
	return m
}

// restarts tells whether an instance that fails now would be started again.
func (m Memory) restarts(r schema.Restart) bool {
	return r.Policy != schema.RestartNever && (r.MaxRetries == 0 || m.Attempts < r.MaxRetries)
}

// illness is the fault of an instance that was ended because it was unhealthy.
func (m Memory) illness(st workload.Status, retryable bool, now time.Time) *Fault {
	f := Fault{Code: codeUnhealthy, Message: "it was ended as it was unhealthy"}
	if m.Fault != nil && m.Fault.Code == codeUnhealthy {
		f.Message = m.Fault.Message
	}
	if f.Retryable, f.At = retryable, st.ExitedAt; f.At.IsZero() {
		f.At = now
	}
	return &f
}

// judged asks a changed restart policy whether an application that was not to be
// started again still isn't.
func (m Memory) judged(r schema.Restart) Memory {
	if !m.Done || m.DoneBy == r {
		return m
	}
	switch {
	case m.Exit.clean() && m.Sick != m.Seen && r.Policy != schema.RestartAlways:
		m.Fault = nil
	case r.Policy == schema.RestartNever, r.MaxRetries > 0 && m.Attempts > r.MaxRetries:
	default: // at once: nothing failed since the change
		m.Done, m.Until, m.Fault = false, time.Time{}, nil
		m.Retry = true
	}
	m.DoneBy = r
	return m
}

// pause doubles from first to most.
func pause(failures int, first, most time.Duration) time.Duration {
	d := first
	for range failures - 1 {
		if d *= 2; d >= most {
			return most
		}
	}
	return min(d, most)
}

// clean tells whether it ended as it should.
func (e *Exit) clean() bool { return e != nil && e.Code == 0 }

func exitOf(st workload.Status) *Exit {
	if st.State != workload.Exited {
		return nil
	}
	return &Exit{Code: st.ExitCode, Signal: st.Signal, OOM: st.OOM, At: st.ExitedAt}
}

func fault(st workload.Status, retryable bool, now time.Time) *Fault {
	f := &Fault{Code: "exited", Retryable: retryable, At: st.ExitedAt}
	if f.At.IsZero() {
		f.At = now
	}
	switch {
	case st.State == workload.Failed:
		f.Code, f.Message = codeLost, clip(st.Error)
	case st.OOM:
		f.Code, f.Message = "out-of-memory", "ended after the kernel enforced run.resources.memory"
	case st.Signal != "":
		f.Message = "ended by " + st.Signal
	default:
		f.Message = "exit status " + strconv.Itoa(st.ExitCode)
	}
	return f
}

// Started accounts for a successful start.
func (m Memory) Started(st workload.Status, hash, boot string) Memory {
	m = m.about(hash).runs()
	m.Boot = boot
	if st.Instance == m.Halted {
		m.Halted = ""
	}
	if st.Instance == m.Seen {
		m.Seen = ""
	}
	return m
}

// runs notes that a start came to something.
func (m Memory) runs() Memory {
	if m.Retry {
		m.Restarts++
	}
	m.Tries, m.Until, m.Fault, m.Retry, m.Done = 0, time.Time{}, nil, false, false
	return m
}

// FailedStep accounts for a step that failed. instance is the one that was made
// in vain, if it came to that.
func (m Memory) FailedStep(s Step, f Fault, instance string, now time.Time) Memory {
	if s.Kind == Fetch || s.Kind == Start || s.Kind == Reload {
		m = m.about(s.Hash)
	}
	if instance != "" {
		m.Seen = instance
	}
	m.Tries++
	f.At, f.Step = now, s.Kind
	switch s.Kind { // whatever it was, nothing but another try ends the instance
	case Stop, Remove, Retire, Withdraw:
		f.Retryable = true
		if f.Code != string(s.Kind)+CodeTimeout {
			f.Code = string(s.Kind) + codeFailed
		}
	}
	m.Fault = &f
	first, most := time.Second, longestOfSteps
	if s.Kind == Start {
		most = time.Minute
	}
	m.Until = now.Add(pause(m.Tries, first, most))
	return m
}
