"""The subsystems of Linux: the names of its buses and classes. Pure.

From the kernel's sources (struct bus_type, struct class), with those of drivers that distributions ship.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

SUBSYSTEMS: Final = frozenset(
    """
    ac97 accel acpi amba ata_device ata_link ata_port ataflop backlight bcma bdi block bluetooth bsg bsr
    bus cec cdx clockevents clocksource container coresight counter cpu cpuid cros-ec-chardev cros_ec cuse
    dasd dax dca devcoredump devfreq devfreq-event devlink dfl dio dma dma_heap dmi dpaa2 drm drm_dp_aux_dev
    dvb edac eeepc eisa enclosure event_source extcon fabric faux fc_host fc_remote_ports fc_rport_priv
    fc_transport fc_vports firewire firmware firmware-attributes fpga_bridge fpga_manager fpga_region fsl-mc
    gameport gpio gpio-chip gpu_sysfs graphics greybus habanalabs hdaudio hid hidraw hpet host1x hsi
    hv_vmbus vmbus hwmon hw_random hypervisor i2c i2c-adapter i2c-dev i3c i3c-master ib_uverbs ide ieee1394
    ieee80211 iio infiniband infiniband_cm infiniband_mad infiniband_srp infiniband_verbs input
    intel_pmt intel_scu_ipc intel_vsec iommu ipack ipmi iscsi_connection iscsi_endpoint iscsi_flashnode
    iscsi_host iscsi_iface iscsi_session iscsi_transport ishtp isa joydev kfd lcd led leds lirc livepatch
    locomo macio macvtap ipvtap machinecheck mcb mdev mdev_bus mdio_bus mdio_mux media mei mem memory
    memory_tiering memstick_host mhi mhi_ep mipi-dsi misc mmc mmc_host mmc_rpmb mon moxa msr mtd mux nd net
    netmem node nubus ntb nvme nvme-fabrics nvme-generic nvme-ns-mgmt nvme-subsystem nvmem parport pci
    pci_bus pci_epc pci-epf pci_express pcmcia pcmcia_socket phy phy_led physdev platform pktcdvd pmu pnp
    power_supply powercap ppdev ppp pps pseudo ptp pwm raid_devices rapidio rapidio_port ras rbd rc regmap
    regulator remoteproc remoteproc_cdev reset rfkill rio_mport rpmb rpmsg rtc sas_device sas_end_device
    sas_expander sas_host sas_phy sas_port sbp2 scmi_protocol scom scsi scsi_changer scsi_device scsi_disk
    scsi_generic scsi_host scsi_tape sdio serial serial-base serio sgi shost slimbus snd soc sound soundwire
    spi spi_host spi_master spi_slave spi_transport spidev spmi srp_host srp_remote_ports ssb ssif
    tc tee thermal thunderbolt tifm_adapter tifm_ms timed_output tpm tpmrm tty tuntap typec typec_mux
    typec_retimer ubi ucsi udc uio ulpi usb usb-serial usb_power_delivery usb_role usblp usbmisc usbmon
    userio uwb vc vchiq vdpa vduse vfio vfio-dev vhost-vdpa video4linux video_output
    virtio virtio-ports visorbus vme vtconsole w1 wakeup watchdog wmi wmi_bus workqueue wwan xen xen-backend
    xt_idletimer zorro zram-control nvidia nvidia-caps nvidia-uvm apex hailo_chardev hailo1x dahdi
    dahdi_channels dahdi_spans zaptel tenstorrent mpp_class xdma aoe auxiliary comedi cxl gnss intel_th mISDN
    peci printer stm stm_source switchtec uacce ublk-char xillybus
    """.split()  # noqa: SIM905  # words, not lines
)

_IN_SYS: Final = "programs read and write its files in /sys"
_SCSI: Final = "`block` or `scsi_generic` is what has a node"
_BUS: Final = "what its driver makes may have a node: take that one's subsystem, and this device by `parent`"

NODELESS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "bluetooth": "Bluetooth's sockets are for the host's network namespace alone (Linux: "
        "net/bluetooth/af_bluetooth.c); a program with a Bluetooth stack of its own takes the adapter's USB "
        "device, once btusb is off it",
        "hid": "`hidraw` or `input` is what has a node",
        "i2c": "`i2c-dev` has the node of its bus",
        "ieee80211": "its network interface, of subsystem `net`, moves with it",
        "mmc": "`block` is what has a node",
        "mmc_host": "`block` is what has a node",
        "rc": "`lirc` is what has a node",
        "rfkill": "`misc` has the node of all of them, /dev/rfkill",
        "scsi": _SCSI,
        "scsi_device": _SCSI,
        "scsi_disk": _SCSI,
        "scsi_host": _SCSI,
        "serial": "`tty` is what has a node",
        "serio": "`input` is what has a node",
        "spi": "`spidev` is what has a node, once that driver has the device",
        "thunderbolt": "what is plugged in behind it has nodes: disks, network interfaces, USB devices",
        "usb-serial": "`tty` is what has a node",
        "w1": "the adapter's USB device goes in, for owserver; the kernel's sensors are files in /sys",
        **dict.fromkeys(("acpi", "auxiliary", "faux", "platform", "pnp", "virtio"), _BUS),
        **dict.fromkeys(
            (
                "backlight",
                "devfreq",
                "extcon",
                "hwmon",
                "leds",
                "nvmem",
                "power_supply",
                "powercap",
                "regulator",
                "thermal",
                "typec",
                "usb_power_delivery",
            ),
            _IN_SYS,
        ),
    }
)
"""Subsystems whose devices have no node and are nothing else that could go into an instance, each with what
to take in their place.
"""
