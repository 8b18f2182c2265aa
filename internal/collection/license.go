package collection

import (
	"bytes"
	"strings"
)

// maxLicense is how much libbpf keeps of a license (struct bpf_object).
const maxLicense = 63

// keepOneLicense leaves the first string of the section "license", as far as libbpf
// gives it to the kernel (bpf_object__init_license). cilium/ebpf wants the section
// to have no other, and takes the last one whose name starts like this.
func (r *reading) keepOneLicense() error {
	var license []byte
	if section := r.object.Section("license"); section != nil {
		license, _, _ = bytes.Cut(section.Data, []byte{0})
		license = license[:min(len(license), maxLicense)]
	}
	for _, section := range r.object.Sections {
		if strings.HasPrefix(section.Name, "license") {
			section.Data = append(bytes.Clone(license), 0)
		}
	}
	return nil
}
