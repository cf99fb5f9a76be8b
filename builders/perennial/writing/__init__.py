"""What services that write share: how they are asked, how a token is chosen, how tokens become text, and who
is written when. All but `network` knows arrays and tokenizers alone, as it runs while serving."""
