package cpu_test

import (
	"testing"

	"quarry/proofs/kernel"
	"quarry/proofs/kernel/cpu"
	"quarry/proofs/kernel/kerneltest"
)

func TestCPUConforms(t *testing.T) { kerneltest.Run(t, cpu.Set(), kerneltest.Options{}) }

// What a set lacks or refuses is done by the CPU, and it still conforms.
func TestEmptySetOverCPUConforms(t *testing.T) {
	kerneltest.Run(t, kernel.Set{}.Or(cpu.Set()), kerneltest.Options{})
}
