"""What must hold on a host with real USB: pytest runs these files in the virtual machine."""
