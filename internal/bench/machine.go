package bench

import (
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sys/cpu"

	"quarry/proofs/sdr"
)

// Machine is what figures depend on.
type Machine struct {
	CPU      string   `json:"cpu"`       // model name, empty when the system does not tell
	Cores    int      `json:"cores"`     // logical CPUs this process may use
	Features []string `json:"features"`  // instruction sets the proofs make use of
	RAM      uint64   `json:"ram_bytes"` // 0 when the system does not tell
	Go       string   `json:"go"`
	OS       string   `json:"os"` // with its version, where known
	Arch     string   `json:"arch"`
	Labels   string   `json:"label_code"` // the code that computes labels here
	// Load is how many threads of the whole system wanted to run in the last minute,
	// on average; more than Cores means that figures are of a shared machine.
	Load float64 `json:"load"`
}

// ThisMachine describes the machine.
func ThisMachine() Machine {
	return Machine{
		CPU:      cpuModel(),
		Cores:    runtime.NumCPU(),
		Features: features(),
		RAM:      totalMemory(),
		Go:       runtime.Version(),
		OS:       systemName(),
		Arch:     runtime.GOARCH,
		Labels:   sdr.Kernel(),
		Load:     loadAverage(),
	}
}

func features() []string {
	all := []struct {
		name string
		has  bool
	}{
		{"sha_ni", hasSHANI()}, {"avx2", cpu.X86.HasAVX2}, {"avx512f", cpu.X86.HasAVX512F},
		{"avx512ifma", cpu.X86.HasAVX512IFMA}, {"bmi2", cpu.X86.HasBMI2}, {"adx", cpu.X86.HasADX},
		{"sha2", cpu.ARM64.HasSHA2},
	}
	out := []string{}
	for _, f := range all {
		if f.has {
			out = append(out, f.name)
		}
	}
	return out
}

// String is the machine in two lines.
func (m Machine) String() string {
	model := m.CPU
	if model == "" {
		model = "CPU of unknown model"
	}
	ram := "unknown"
	if m.RAM > 0 {
		ram = fmt.Sprintf("%.1f GiB", float64(m.RAM)/(1<<30))
	}
	features := strings.Join(m.Features, " ")
	if features == "" {
		features = "none of the special instructions"
	}
	return fmt.Sprintf("machine: %s, %d cores, %s\n         RAM %s, %s, %s, %s; labels: %s; load %.1f",
		model, m.Cores, features, ram, m.OS, m.Arch, m.Go, m.Labels, m.Load)
}
