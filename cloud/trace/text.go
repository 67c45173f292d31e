package trace

import (
	"fmt"
	"strings"
	"time"

	"gnomon/schema"
)

// text says about a step what its name and time don't.
func (c *change) text(step Name) string {
	switch step {
	case StepWritten:
		return writtenText(c.By, c.Door)
	case StepCommitted:
		t := fmt.Sprintf("version %d", c.Version)
		if c.Deleted {
			t += ", deleted"
		}
		if c.Remote {
			t += ", at another replica"
		}
		return t
	case StepPublished:
		return sentText(c.Sent)
	case StepDelivered:
		if c.persisted {
			return c.client + " has it on its disk"
		}
		return "acknowledged by client " + c.client
	case StepPlanned:
		return planText(c.plan, c.blockers)
	case StepReported:
		return c.phase
	case StepFailed:
		return faultText(c.fault)
	case StepSuperseded:
		return fmt.Sprintf("by version %d", c.by)
	}
	return ""
}

func writtenText(by string, door Door) string {
	return strings.Trim(fmt.Sprintf("by %s, %s", by, door), ", ")
}

func sentText(s Sent) string {
	switch {
	case !s.Known:
		return "who listens is not known"
	case s.listeners() == 0:
		return "nobody was listening"
	}
	var parts []string
	if s.Push > 0 {
		parts = append(parts, "desired push to "+clients(s.Push))
	}
	if s.Delta > 0 {
		parts = append(parts, "delta to "+clients(s.Delta))
	}
	return strings.Join(parts, ", ")
}

func clients(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

// planText lists what was begun and when, counted from when it was on the disk.
func planText(p schema.Plan, blockers []string) string {
	var parts []string
	for _, s := range p.Steps {
		if s.Name != schema.StepPlan {
			parts = append(parts, s.Name+" +"+offset(s.After.D()))
		}
	}
	t := strings.Join(parts, ", ")
	if t == "" && len(blockers) == 0 {
		return "nothing had to be done"
	}
	if len(blockers) > 0 {
		if t != "" {
			t += "; "
		}
		t += "waiting: " + strings.Join(blockers, "; ")
	}
	return t
}

func offset(d time.Duration) string {
	if d < 10*time.Second {
		return fmt.Sprintf("%dms", d.Milliseconds())
	}
	return d.Round(time.Second).String()
}

func faultText(f *schema.Fault) string {
	if f == nil {
		return ""
	}
	again := "it is not tried again"
	if f.Retryable {
		again = "it is tried again"
	}
	return fmt.Sprintf("%s: %s; %s", f.Code, f.Message, again)
}
