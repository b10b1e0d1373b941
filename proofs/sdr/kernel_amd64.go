//go:build !purego

package sdr

import (
	"encoding/binary"
	"runtime"
	"unsafe"

	"golang.org/x/sys/cpu"
)

// nativeKernels are the kernels of this CPU that are faster than the portable
// one.
func nativeKernels() []routine {
	if !hasSHA() {
		return nil
	}
	return []routine{{"SHA-NI", shaniSingle, shaniPair}}
}

// hasSHA is whether the CPU has the SHA extensions (CPUID leaf 7, EBX bit 29),
// which package cpu does not tell. Leaf 7 exists wherever AVX2 does; below that
// nothing is asked.
func hasSHA() bool { return cpu.X86.HasAVX2 && cpuid7()>>29&1 == 1 }

// cpuid7 is EBX of CPUID leaf 7.
func cpuid7() uint32

//go:noescape
func labelsSHANI(j *job)

//go:noescape
func pairsSHANI(j *job)

func shaniSingle(j *job) {
	j.prepare()
	labelsSHANI(j)
	runtime.KeepAlive(j)
}

func shaniPair(j *job) {
	j.prepare()
	pairsSHANI(j)
	runtime.KeepAlive(j)
}

// prepare fills in what stays the same for all nodes of the job.
func (j *job) prepare() {
	s := j.scratch
	for i := range s.head {
		binary.BigEndian.PutUint32(s.head[i][:], j.layer)
	}
	s.pairs[j.distinct][1] = uintptr(unsafe.Pointer(&s.pad))
	s.pairs[j.distinct+1] = [2]uintptr{uintptr(unsafe.Pointer(&s.id)), uintptr(unsafe.Pointer(&s.head))}
	s.out = uintptr(unsafe.Pointer(j.out))
}
