"""The lab's DNS: provider APIs, dynamic updates and name servers over the same zones."""
