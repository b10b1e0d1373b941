package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"quarry/internal/bench"
)

// row is one line of the table.
type row struct{ what, measured, goal string }

// rows are those figures that were measured.
func rows(b best, kernel string) (out []row) {
	out = append(out, labels(b, kernel)...)
	out = append(out, commP(b)...)
	return append(out, poseidon(b)...)
}

func labels(b best, kernel string) (out []row) {
	one, ok1 := b.get("Labels/8MiB/sectors=1/"+kernel, "labels/s")
	two, ok2 := b.get("Labels/8MiB/sectors=2/"+kernel, "labels/s")
	if ok1 {
		out = append(out, row{"labels of one sector, a thread (" + kernel + ")", fmt.Sprintf("%.2f M/s", one/1e6), "≥ 1.2 M/s"})
	}
	if ok2 {
		out = append(out, row{"labels of two sectors in step, a thread", fmt.Sprintf("%.2f M/s", two/1e6), ""})
	}
	if ok1 && ok2 {
		out = append(out, row{"  two in step against one", fmt.Sprintf("%.2f ×", two/one), "≥ 1.8 ×"})
	}
	return out
}

func commP(b best) (out []row) {
	ours, ok1 := b.get("SideBySide/ours/1_cores", "MB/s")
	theirs, ok2 := b.get("SideBySide/hashhash/1_cores", "MB/s")
	if ok1 {
		out = append(out, row{"CommP, a core", fmt.Sprintf("%.3f GB/s", ours/1e3), "≥ 0.33 GB/s"})
	}
	if ok1 && ok2 {
		out = append(out, row{"  against go-fil-commp-hashhash", fmt.Sprintf("%.2f ×", ours/theirs), "≥ 1.5 ×"})
	}
	return out
}

func poseidon(b best) (out []row) {
	for _, x := range []struct {
		arity int
		goal  string
	}{{2, "≤ 12 µs"}, {8, "≤ 45 µs"}, {11, "≤ 62 µs"}} {
		one, ok1 := b.get(fmt.Sprintf("Hash/best/%d", x.arity), "ns/hash")
		many, ok2 := b.get(fmt.Sprintf("Row/best/%d", x.arity), "ns/hash")
		if ok1 {
			out = append(out, row{fmt.Sprintf("Poseidon of arity %d, one by one", x.arity), fmt.Sprintf("%.1f µs", one/1e3), x.goal})
		}
		if ok1 && ok2 {
			out = append(out, row{"  in rows", fmt.Sprintf("%.1f µs, %.1f ×", many/1e3, one/many), "≥ 3 ×"})
		}
	}
	return out
}

// phaseRows are the phases of a run as lines of the table.
func phaseRows(what string, phases []bench.Phase) (out []row) {
	for _, p := range phases {
		out = append(out, row{what + ": " + p.Name, fmt.Sprintf("%.3g s (CPU %.3g s), %s", p.Seconds, p.CPU, bench.Bytes(p.Peak)), ""})
	}
	return out
}

func printTable(w io.Writer, m bench.Machine, list []row) error {
	fmt.Fprintf(w, "\n%s\n\n", m)
	t := tabwriter.NewWriter(w, 0, 4, 3, ' ', 0)
	fmt.Fprintln(t, "what\tmeasured\tgoal")
	for _, r := range list {
		fmt.Fprintf(t, "%s\t%s\t%s\n", r.what, r.measured, r.goal)
	}
	return t.Flush()
}
