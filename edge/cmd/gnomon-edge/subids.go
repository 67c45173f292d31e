package main

import "gnomon/edge/workload"

// subids is a flag that is a range of users.
type subids struct{ r *workload.Range }

func (s *subids) String() string {
	if s.r == nil {
		return ""
	}
	return s.r.String()
}

func (s *subids) Type() string { return "range" }

func (s *subids) Set(text string) error {
	r, err := workload.ParseRange(text)
	if err == nil {
		err = r.Check()
	}
	if err == nil {
		*s.r = r
	}
	return err
}
